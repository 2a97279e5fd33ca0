//! What an engine needs to start, as the keeper gives it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::Config;
use crate::estate::Inventory;
use crate::link::{Link, Message, Word};

/// All of it.
pub struct Kit {
    pub config: Config,
    pub anvil_pid: u32,
    pub estate: Inventory,
    pub hibernate: OwnedFd,
    pub listeners: Listeners,
}

/// Sockets that are listened on around the engine.
pub struct Listeners {
    pub control: OwnedFd,
    pub metrics: Option<OwnedFd>,
}

impl Kit {
    /// Waits for it.
    ///
    /// # Errors
    /// The keeper has gone meanwhile, or left something out.
    pub fn receive(link: &Link) -> io::Result<Self> {
        let (mut config, mut anvil_pid, mut estate) = (None, None, None);
        let (mut hibernate, mut control, mut metrics) = (None, None, None);
        loop {
            let Message { word, text, descriptor } = link.wait()?;
            match word {
                Word::Config => config = Some(read(&text)?),
                Word::AnvilPid => anvil_pid = text.parse().ok(),
                Word::Estate => estate = Some(toml::from_str(&text).map_err(io::Error::other)?),
                Word::Hibernate => hibernate = descriptor,
                Word::Control => control = descriptor,
                Word::Metrics => metrics = descriptor,
                Word::Go => break,
                Word::Begins | Word::Ready | Word::Beat => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        let missing = || io::Error::other("the keeper has left something out");
        let (config, anvil_pid) = config.zip(anvil_pid).ok_or_else(missing)?;
        let (hibernate, control) = hibernate.zip(control).ok_or_else(missing)?;
        let estate = estate.ok_or_else(missing)?;
        Ok(Self { config, anvil_pid, estate, hibernate, listeners: Listeners { control, metrics } })
    }
}

/// The keeper's words for a configuration that it has checked.
pub fn read(text: &str) -> io::Result<Config> {
    Config::parse(Path::new("keeper"), text).map_err(io::Error::other)
}
