//! Files that stay open when their process dies: the tables of rings that somebody else holds too.
//!
//! A file in a ring's registered table needs no descriptor number, so neither RLIMIT_NOFILE nor
//! the end of this process concerns it: it is closed when the last process that has the *ring*
//! open is gone. So a keeper creates the vault, its engines inherit it, and what an engine has put
//! in is there for the next one.
//!
//! The rings are plain (COOP_TASKRUN at most): a ring with a single issuer would be of no use to
//! anybody after that issuer's death (EEXIST on Linux 6.18). One table has at most 16,384 places,
//! since RLIMIT_NOFILE bounds each table when it is registered, but not how many there are.
//!
//! A place holds its file whatever its number elsewhere does. A receive that is in flight goes on
//! after its place is cleared: what waits must be cancelled and joined before.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::Fixed;
use io_uring::{IoUring, Probe, opcode};

use crate::limits::Limits;
use crate::places::Places;

use super::main_ring::{lent, map_ring};
use super::own::{inherited, own};
use super::setup::named;
use super::sqe;
use super::window::Window;

/// A row of places in as many tables as it takes. Any thread may use it.
pub struct Vault {
    tables: Vec<Mutex<IoUring>>,
    places: u32,
}

impl Vault {
    /// An empty vault. Fails when the kernel cannot have one: one line names what it lacks.
    pub fn create(places: u32) -> io::Result<Self> {
        assert!(places > 0, "nobody needs no places");
        let tables = (0..tables(places)).map(|_| {
            let ring = build()?;
            ring.submitter().register_files_sparse(table_places(places)).map_err(explained)?;
            Ok(Mutex::new(ring))
        });
        Ok(Self { tables: tables.collect::<io::Result<_>>()?, places })
    }

    /// The vault that an ancestor has created with as many places, by the numbers that its
    /// [`Vault::descriptors`] have in this process. Takes the numbers over. The process that used
    /// the vault before must be dead, or have promised not to use it again.
    pub fn inherit(descriptors: &[RawFd], places: u32) -> io::Result<Self> {
        if descriptors.len() != tables(places) {
            let why = format!("{} rings do not hold {places} places", descriptors.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let tables = descriptors.iter().map(|raw| Ok(Mutex::new(take_over(*raw)?)));
        Ok(Self { tables: tables.collect::<io::Result<_>>()?, places })
    }

    /// How many rings a vault of these limits has.
    pub fn tables(limits: &Limits) -> usize {
        tables(Places::new(limits).count())
    }

    /// The rings, for a child process to inherit. They are closed on exec as they are.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tables.iter().map(|table| lent(self, lock(table).as_raw_fd()))
    }

    /// Places in all tables.
    pub fn places(&self) -> u32 {
        self.places
    }

    /// Puts a file into a place; whatever was there is let go.
    pub fn put(&self, place: u32, descriptor: impl AsFd) -> io::Result<()> {
        self.update(place, &[descriptor.as_fd().as_raw_fd()])
    }

    /// Puts two files, or the lack of one, into a place and the next of the same table, at once.
    pub fn put_pair(&self, place: u32, pair: [Option<BorrowedFd>; 2]) -> io::Result<()> {
        self.update(place, &pair.map(|file| file.map_or(EMPTY, |file| file.as_raw_fd())))
    }

    /// Empties a place. Nothing happens when it is empty.
    pub fn clear(&self, place: u32) -> io::Result<()> {
        self.update(place, &[EMPTY])
    }

    /// A descriptor for the file in a place, closed on exec; the place keeps the file. EBADF: the
    /// place is empty; EMFILE: no number is left.
    pub fn take(&self, place: u32) -> io::Result<OwnedFd> {
        let (table, fixed) = self.fixed(place);
        let mut table = lock(&self.tables[table]);
        sqe::push(&mut table, &opcode::FixedFdInstall::new(fixed, 0).build());
        let mut result = 0;
        finish(&mut table, 1, |_, done| result = done);
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(own(result)) }
    }

    /// The table of a place, and the file's name in there.
    fn fixed(&self, place: u32) -> (usize, Fixed) {
        assert!(place < self.places, "place {place} is none of {}", self.places);
        ((place / TABLE_PLACES) as usize, Fixed(place % TABLE_PLACES))
    }

    fn update(&self, place: u32, raws: &[RawFd]) -> io::Result<()> {
        let (table, Fixed(offset)) = self.fixed(place);
        let table = lock(&self.tables[table]);
        let updated = table.submitter().register_files_update(offset, raws)?;
        assert!(updated == raws.len(), "{} places were given, {updated} updated", raws.len());
        Ok(())
    }
}

fn lock(table: &Mutex<IoUring>) -> MutexGuard<'_, IoUring> {
    table.lock().expect("whoever panicked in here has taken the engine along")
}

/// Does what is queued, and brings the completions. Everything that a vault's ring is asked for
/// is done while it is submitted, so nothing of it is ever left in the kernel.
fn finish(ring: &mut IoUring, count: usize, mut done: impl FnMut(u64, i32)) {
    let mut left = count;
    while left > 0 {
        let entered = ring.submit_and_wait(left);
        for entry in ring.completion() {
            done(entry.user_data(), entry.result());
            left -= 1;
        }
        match entered.map_err(|error| error.raw_os_error()) {
            Ok(_) | Err(Some(libc::EINTR)) => {}
            // The kernel has no memory for a request. What is queued stays queued.
            Err(Some(libc::EAGAIN | libc::EBUSY)) => thread::sleep(Duration::from_millis(1)),
            Err(errno) => panic!("a vault's ring is broken: {errno:?}"),
        }
    }
}

fn build() -> io::Result<IoUring> {
    let ring = IoUring::builder().setup_coop_taskrun().build(ENTRIES).map_err(named)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if !probe.is_supported(opcode::FixedFdInstall::CODE) {
        let why = "host: this kernel cannot give a file in a ring's table a number; Linux 6.8 can";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    Ok(ring)
}

/// Maps a ring of ours that another process has used. Entries that it had queued, and died before
/// it submitted them, become entries that do nothing: they may name its memory.
fn take_over(raw: RawFd) -> io::Result<IoUring> {
    let twin = build()?.params().clone();
    let file = inherited(raw)?;
    let bytes = twin.sq_entries() as usize * size_of::<Entry>();
    let entries = Window::new(&file, IORING_OFF_SQES, bytes)?;
    let mut ring = map_ring(file, twin)?;
    (0..bytes).step_by(8).for_each(|at| entries.set(at, NOTHING));
    let queued = ring.submission().len();
    // Numbers that it was given before belong to it and have died with it.
    ring.completion().for_each(drop);
    finish(&mut ring, queued, |_, _| {});
    Ok(ring)
}

fn tables(places: u32) -> usize {
    places.div_ceil(TABLE_PLACES) as usize
}

/// A whole table where there are many places, else no more than are needed.
fn table_places(places: u32) -> u32 {
    places.next_power_of_two().min(TABLE_PLACES)
}

fn explained(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::EMFILE) => "host: RLIMIT_NOFILE is below a table of the vault; raise it",
        Some(libc::ENOMEM) => "host: no memory for a table of the vault",
        _ => "host: no table can be registered in a ring",
    };
    io::Error::new(error.kind(), format!("{why} ({error})"))
}

/// Places of one table: 128 KiB of pointers, and below every RLIMIT_NOFILE that is worth a name.
pub const TABLE_PLACES: u32 = 16_384;
/// Entries of a ring's submission queue: one page.
const ENTRIES: u32 = 64;
/// What an update takes for a file to empty a place.
const EMPTY: RawFd = -1;
/// linux/io_uring.h: the offset of the entries in a ring's mapping.
const IORING_OFF_SQES: usize = 0x1000_0000;
/// A word of an entry of zeros, which is IORING_OP_NOP.
const NOTHING: u64 = 0;

const _: () = assert!(size_of::<Entry>() == 64, "an entry is 64 bytes");

#[cfg(test)]
mod tests;
