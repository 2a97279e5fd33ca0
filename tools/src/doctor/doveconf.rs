//! Dovecot's effective settings, as `doveconf -a` prints them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

/// Settings by path: `service imap/unix_listener imap-master/mode`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    /// True for 2.4 and later, whose configuration is written differently.
    pub is_v24: bool,
}

impl Settings {
    /// Runs doveconf.
    ///
    /// # Errors
    /// There is no doveconf, or it does not like the configuration.
    pub fn ask(config: Option<&Path>) -> io::Result<Self> {
        let mut command = Command::new("doveconf");
        command.arg("-a");
        if let Some(config) = config {
            command.arg("-c").arg(config);
        }
        let output = command.output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().next().unwrap_or("failed").to_owned();
            return Err(io::Error::other(line));
        }
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads blocks in braces and `key = value` lines; everything else is skipped.
    pub fn parse(text: &str) -> Self {
        let mut settings = Self::default();
        let mut path: Vec<&str> = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(version) = line.strip_prefix("# 2.") {
                settings.is_v24 |= !version.starts_with("3.") && !version.starts_with("2.");
            } else if let Some(block) = line.strip_suffix('{') {
                path.push(block.trim());
            } else if line == "}" {
                path.pop();
            } else if let Some((key, value)) = line.split_once('=') {
                settings.is_v24 |= key.trim() == "dovecot_config_version";
                path.push(key.trim());
                settings.values.insert(path.join("/"), value.trim().to_owned());
                path.pop();
            }
        }
        settings
    }

    /// The value of a path; empty where there is none.
    pub fn value(&self, path: &str) -> &str {
        self.values.get(path).map_or("", String::as_str)
    }

    /// The same with a variable such as `$default_internal_user` replaced.
    pub fn resolved(&self, path: &str) -> &str {
        let value = self.value(path);
        let name = value.strip_prefix("$SET:").or_else(|| value.strip_prefix('$'));
        name.map_or(value, |name| self.value(name))
    }

    /// The number that a value begins with: `30 secs` is 30.
    pub fn number(&self, path: &str) -> Option<u64> {
        let value = self.value(path);
        let end = value.find(|char: char| !char.is_ascii_digit()).unwrap_or(value.len());
        value[..end].parse().ok()
    }

    /// An octal mode.
    pub fn mode(&self, path: &str) -> Option<u32> {
        u32::from_str_radix(self.value(path), 8).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_paths_and_variables_are_replaced() {
        let text = "# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf\n\
                    default_internal_user = dovecot\nimap_hibernate_timeout = 30 secs\n\
                    service imap {\n  process_limit = 1024\n  unix_listener imap-master {\n\
                    \x20   mode = 0600\n    user = $default_internal_user\n  }\n}\nx = y=z\n";
        let settings = Settings::parse(text);
        assert!(!settings.is_v24);
        assert_eq!(settings.number("imap_hibernate_timeout"), Some(30));
        assert_eq!(settings.number("service imap/process_limit"), Some(1024));
        assert_eq!(settings.mode("service imap/unix_listener imap-master/mode"), Some(0o600));
        assert_eq!(settings.resolved("service imap/unix_listener imap-master/user"), "dovecot");
        assert_eq!(settings.value("x"), "y=z");
        assert_eq!((settings.value("none"), settings.number("none")), ("", None));
        assert!(Settings::parse("# 2.4.1-4 (7d8c0bc): /etc\n").is_v24);
    }
}
