//! What a capture is to do, written into its initial file system.

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::config::{Action, Config, Target};
use crate::pairs::value;

/// Where they are in the initial file system.
pub(crate) const SETTINGS: &str = "/etc/kscope/capture.conf";
/// The modules to load, in order: `needed NAME FILE` or `optional NAME FILE`.
pub(crate) const MODULES: &str = "/etc/kscope/capture.modules";
/// The private key and the known hosts.
pub(crate) const KEY: &str = "/etc/kscope/ssh_key";
pub(crate) const KNOWN_HOSTS: &str = "/etc/kscope/ssh_known_hosts";
/// A static shell, and where it is if it is busybox.
pub(crate) const SHELL: &str = "/bin/sh";
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// What a capture is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// A UUID or ssh; never `local`.
    pub(crate) target: Target,
    /// The folder of dumps below the root of the file system, or on the other machine.
    pub(crate) path: PathBuf,
    /// The name of the machine, in the names of dumps.
    pub(crate) host: String,
    /// The hardware address of the network interface, whose name the capture may not have.
    pub(crate) mac: Option<String>,
    pub(crate) level: u8,
    pub(crate) compression: String,
    pub(crate) format: String,
    pub(crate) keep: u32,
    pub(crate) action: Action,
    pub(crate) failure_action: Action,
    pub(crate) deadline: Duration,
    pub(crate) wait: Duration,
    pub(crate) cpus: u32,
}

impl Settings {
    /// Takes what the configuration says; `target` and `path` as the capture sees them.
    pub(crate) fn of(config: &Config, target: Target, path: PathBuf, host: &str) -> Self {
        let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        let host: String = host.chars().filter(plain).take(64).collect();
        Settings {
            target,
            path,
            host: match host.is_empty() {
                true => "localhost".to_owned(),
                false => host,
            },
            mac: None,
            level: config.level,
            compression: config.compression.to_string(),
            format: config.format.to_string(),
            keep: config.keep,
            action: config.action,
            failure_action: config.failure_action,
            deadline: config.deadline,
            wait: config.wait,
            cpus: config.cpus,
        }
    }

    /// Writes them as text.
    pub(crate) fn text(&self) -> String {
        let mac = self.mac.as_deref().unwrap_or_default();
        format!(
            "# What the capture does. Made by `kscope kdump initrd`.\n\
             target = {}\npath = {}\nhost = {}\nlevel = {}\ncompression = {}\n\
             format = {}\nkeep = {}\naction = {}\nfailure_action = {}\ndeadline_seconds = {}\n\
             wait = {}\ncpus = {}\nmac = {mac}\n",
            self.target,
            self.path.display(),
            self.host,
            self.level,
            self.compression,
            self.format,
            self.keep,
            self.action,
            self.failure_action,
            self.deadline.as_secs(),
            self.wait.as_secs(),
            self.cpus,
        )
    }

    /// Reads the text.
    ///
    /// # Errors
    /// Names the line that makes no sense.
    pub(crate) fn parse(text: &str) -> Result<Settings, Error> {
        // What both have is read by the same reader.
        let own = ["host", "deadline_seconds", "mac"];
        let mut shared = String::new();
        for line in text.lines() {
            let key = line.split('=').next().unwrap_or_default().trim();
            if !own.contains(&key) {
                shared.push_str(line);
            }
            shared.push('\n');
        }
        let config = Config::parse(&shared)?;
        let text_of = |key: &str| value(text, key).unwrap_or_default();
        let target = config.target.clone();
        let path = config.path.clone();
        let mut settings = Settings::of(&config, target, path, text_of("host"));
        settings.mac = Some(text_of("mac").to_owned()).filter(|mac| !mac.is_empty());
        let seconds = text_of("deadline_seconds").parse();
        settings.deadline = Duration::from_secs(seconds.unwrap_or(3600));
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let config = Config {
            target: Target::Uuid("00112233-4455-6677-8899-aabbccddeeff".to_owned()),
            action: Action::PowerOff,
            deadline: Duration::from_secs(90),
            ..Config::default()
        };
        let target = config.target.clone();
        let mut settings = Settings::of(&config, target, "/crash dumps".into(), "a host\n");
        settings.mac = Some("52:54:00:12:34:56".to_owned());
        assert_eq!(settings.host, "ahost");
        let read = Settings::parse(&settings.text()).expect("ours");
        assert_eq!(read, settings);
        assert!(Settings::parse("target = nowhere").is_err());
    }
}
