//! What `torpor serve` and its front were told on the command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Config, ConfigError};

/// Each instead of the configuration's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeOptions {
    pub config: Option<PathBuf>,
    pub base_dir: Option<PathBuf>,
    /// Mail homes: clients log in here and not at a Dovecot.
    pub maildir: Option<PathBuf>,
    pub users: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub insecure_plaintext: bool,
    /// Print the effective configuration and end.
    pub check: bool,
}

impl ServeOptions {
    /// The configuration with these options in force.
    ///
    /// # Errors
    /// Names the file or key that cannot be used.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let config = Config::load(self.config.as_deref())?;
        config.with(|config| {
            let front = &mut config.front;
            // A relative path is as good as absolute: torpor never changes its folder.
            let absolute =
                |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
            front.maildir = self.maildir.as_ref().map(absolute).or_else(|| front.maildir.take());
            front.users = self.users.as_ref().map(absolute).or_else(|| front.users.take());
            front.listen = self.listen.unwrap_or(front.listen);
            front.insecure_plaintext |= self.insecure_plaintext;
            if let Some(base_dir) = &self.base_dir {
                config.base_dir.clone_from(base_dir);
            }
        })
    }

    /// The words for a process that goes on where this one is, with what it is told besides.
    pub fn to_go_on(&self, besides: [OsString; 2]) -> Vec<OsString> {
        let serve = [OsString::from("serve")];
        serve.into_iter().chain(self.arguments()).chain(besides).collect()
    }

    /// The same options for another process.
    pub fn arguments(&self) -> Vec<OsString> {
        let paths = [
            ("--config", &self.config),
            ("--base-dir", &self.base_dir),
            ("--maildir", &self.maildir),
            ("--users", &self.users),
        ];
        let mut arguments = Vec::new();
        for (name, path) in paths {
            arguments.extend(path.iter().flat_map(|path| [name.into(), path.into()]));
        }
        if let Some(listen) = self.listen {
            arguments.extend(["--listen".into(), listen.to_string().into()]);
        }
        if self.insecure_plaintext {
            arguments.push("--insecure-plaintext".into());
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(listen: &str) -> ServeOptions {
        ServeOptions {
            // None of this host's files.
            config: Some("/dev/null".into()),
            maildir: Some("/srv/mail".into()),
            users: Some("users".into()),
            listen: Some(listen.parse().expect("an address")),
            ..ServeOptions::default()
        }
    }

    #[test]
    fn a_folder_and_users_are_enough() {
        let config = options("127.0.0.1:1143").load().expect("fine");
        assert_eq!(config.base_dir, PathBuf::from("/srv/mail/.torpor"));
        assert_eq!(config.hibernate.mode, 0o600);
        assert!(!config.anvil.enabled);
        assert!(config.front.users.expect("given").is_absolute());
    }

    #[test]
    fn passwords_do_not_cross_a_network_by_accident() {
        for listen in ["0.0.0.0:1143", "192.0.2.1:143", "[::]:1143"] {
            let mut options = options(listen);
            let text = options.load().expect_err(listen).to_string();
            assert!(text.contains("--insecure-plaintext"), "{text}");
            options.insecure_plaintext = true;
            options.load().expect("said twice");
        }
        options("[::1]:1143").load().expect("loopback too");
    }

    #[test]
    fn half_a_front_is_no_front() {
        let mut no_users = options("127.0.0.1:1143");
        no_users.users = None;
        assert!(no_users.load().expect_err("nobody").to_string().contains("users"));
        let mut no_mail = options("127.0.0.1:1143");
        no_mail.maildir = None;
        assert!(no_mail.load().expect_err("nothing").to_string().contains("maildir"));
    }

    #[test]
    fn a_folder_too_deep_for_a_socket_is_named() {
        let mut options = options("127.0.0.1:1143");
        options.maildir = Some(format!("/srv/{}", "x".repeat(100)).into());
        let text = options.load().expect_err("too long").to_string();
        assert!(text.contains("base_dir") && text.contains("at most 107 bytes"), "{text}");
    }
}
