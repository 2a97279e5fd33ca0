//! The memory of a cold store, before and after there is a store in it.

use std::io;
use std::path::Path;

use super::chain::BLOCK_BYTES;
use super::model::MODELS_BYTES;
use super::shelf::{PAGE_BYTES, PAGES_MAX, Shelf};
use crate::image::Image;
use crate::limits::Limits;
use crate::sys::map::Map;

/// What a store lies in.
pub struct ColdMaps {
    pub blocks: Map,
    pub shelf: Map,
    pub models: Map,
}

impl ColdMaps {
    /// Zeros, as many as the limits ask for; see [`Cold::new`].
    pub fn new(limits: &Limits, folder: Option<&Path>) -> io::Result<Self> {
        let map = |name: &str, bytes: usize| match folder {
            Some(folder) => Map::file(&folder.join(name), Image::map_bytes(bytes)),
            None => Map::memory(name, Image::map_bytes(bytes)),
        };
        let pages = limits.slots_max as usize * SHELF_BYTES_PER_SLOT / PAGE_BYTES + SHELF_PAGES_MIN;
        let pages = pages.min(PAGES_MAX as usize);
        let blocks = map("torpor-blocks", limits.cold_blocks_max as usize * BLOCK_BYTES)?;
        let shelf = map("torpor-shelf", Shelf::bytes(pages))?;
        Ok(Self { blocks, shelf, models: map("torpor-models", MODELS_BYTES)? })
    }
}

/// Address space of the shelf for each client; more than a packed line has.
const SHELF_BYTES_PER_SLOT: usize = 256;
/// One page of each size.
const SHELF_PAGES_MIN: usize = 64;
