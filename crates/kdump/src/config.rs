//! `/etc/kscope/kdump.conf`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::pairs::{Pair, pairs};
use crate::root::Root;

/// Where the configuration is.
pub const CONFIG: &str = "/etc/kscope/kdump.conf";

/// The configuration as it comes: all its keys with what each does, commented out.
pub const TEMPLATE: &str = include_str!("kdump.conf");

/// What happens after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where dumps go.
    pub target: Target,
    /// The folder of dumps: in the running system, in the file system of a UUID, or on another machine.
    pub path: PathBuf,
    /// Kinds of pages to leave out, 0 to 31.
    pub level: u8,
    /// How pages are packed.
    pub compression: Compression,
    /// What is written.
    pub format: Format,
    /// How many crashes are kept; 0 is all.
    pub keep: u32,
    /// What follows a dump.
    pub action: Action,
    /// What follows a capture that failed.
    pub failure_action: Action,
    /// How long a capture may take; zero is for ever.
    pub deadline: Duration,
    /// How long to wait for a device.
    pub wait: Duration,
    /// CPUs of the capture.
    pub cpus: u32,
    /// Modules beside those that are found.
    pub modules: Vec<String>,
    /// A static shell.
    pub shell: PathBuf,
    /// Words added to the command line of the capture.
    pub command_line_add: Vec<String>,
    /// Words taken from it, by their names.
    pub command_line_remove: Vec<String>,
    /// The kernel image; `%r` is its release.
    pub kernel: String,
    /// The initial file system; `%r` is the kernel's release.
    pub initrd: String,
    /// The private key for ssh.
    pub ssh_key: PathBuf,
    /// Known host keys.
    pub ssh_known_hosts: PathBuf,
    /// The address of the capture in the notation of the kernel's `ip=`.
    pub ip: Option<String>,
}

/// Where dumps go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The file system that holds the path.
    Local,
    /// The file system of this UUID, in small letters.
    Uuid(String),
    /// Another machine.
    Ssh(SshTarget),
}

/// A machine that takes dumps over ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// The user there.
    pub user: String,
    /// Its address or its name in /etc/hosts.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Local => f.write_str("local"),
            Target::Uuid(uuid) => write!(f, "uuid:{uuid}"),
            Target::Ssh(SshTarget { user, host, port }) => write!(f, "ssh:{user}@{host}:{port}"),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$member:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$member])* $variant),* }

        impl $name {
            /// All words for it.
            const WORDS: &'static [&'static str] = &[$($word),*];

            fn of(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant => $word),* })
            }
        }
    };
}

words! {
    /// How pages are packed.
    Compression {
        /// zstd.
        Zstd = "zstd",
        /// LZO.
        Lzo = "lzo",
        /// zlib.
        Zlib = "zlib",
        /// Not at all.
        None = "none",
    }
}

words! {
    /// The format of a dump.
    Format {
        /// kdump-compressed.
        Kdump = "kdump",
        /// An ELF core file.
        Elf = "elf",
    }
}

words! {
    /// What follows a capture.
    Action {
        /// The machine starts again.
        Reboot = "reboot",
        /// It stops.
        Halt = "halt",
        /// It is switched off.
        PowerOff = "poweroff",
        /// A shell on the console; the machine starts again when it ends.
        Shell = "shell",
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            target: Target::Local,
            path: "/var/crash".into(),
            level: 31,
            compression: Compression::Zstd,
            format: Format::Kdump,
            keep: 3,
            action: Action::Reboot,
            failure_action: Action::Reboot,
            deadline: Duration::from_secs(3600),
            wait: Duration::from_secs(60),
            cpus: 1,
            modules: Vec::new(),
            shell: "/bin/busybox".into(),
            command_line_add: Vec::new(),
            command_line_remove: Vec::new(),
            kernel: "/boot/vmlinuz-%r".to_owned(),
            initrd: "/var/lib/kscope/kdump/initrd-%r.img".to_owned(),
            ssh_key: "/etc/kscope/kdump_key".into(),
            ssh_known_hosts: "/etc/kscope/kdump_known_hosts".into(),
            ip: None,
        }
    }
}

/// The keys, for who has misspelt one.
const KEYS: &str = "action, command_line_add, command_line_remove, compression, cpus, deadline, \
    failure_action, format, initrd, ip, keep, kernel, level, modules, path, shell, ssh_key, \
    ssh_known_hosts, target, wait";

impl Config {
    /// Reads a file of the machine; where there is none, what holds without one.
    ///
    /// # Errors
    /// Where it cannot be read, or a line makes no sense.
    pub fn load(root: &Root, file: &Path) -> Result<Config, Error> {
        match root.text(file) {
            Ok(text) => Config::parse(&text),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound && file == Path::new(CONFIG) => {
                Ok(Config::default())
            }
            Err(why) => Err(Error::file("read", file)(why)),
        }
    }

    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// Names the line that makes no sense, and what to write.
    pub fn parse(text: &str) -> Result<Config, Error> {
        let mut config = Config::default();
        for pair in pairs(text) {
            let pair = pair.map_err(|(line, text)| Error::Config {
                line,
                what: format!("`{text}` has no `=`"),
                way_out: "write `key = value`, or # before a comment".to_owned(),
            })?;
            config.set(pair)?;
        }
        Ok(config)
    }

    fn set(&mut self, pair: Pair<'_>) -> Result<(), Error> {
        let value = pair.value;
        let path = || absolute(pair);
        match pair.key {
            "target" => self.target = target(pair)?,
            "path" => self.path = path()?,
            "level" => self.level = number(pair, 0, 31)? as u8,
            "compression" => self.compression = word(pair, Compression::of, Compression::WORDS)?,
            "format" => self.format = word(pair, Format::of, Format::WORDS)?,
            "keep" => self.keep = number(pair, 0, 10_000)?,
            "action" => self.action = word(pair, Action::of, Action::WORDS)?,
            "failure_action" => self.failure_action = word(pair, Action::of, Action::WORDS)?,
            "deadline" => {
                self.deadline = Duration::from_secs(60 * u64::from(number(pair, 0, 10_000)?));
            }
            "wait" => self.wait = Duration::from_secs(number(pair, 1, 3600)?.into()),
            "cpus" => self.cpus = number(pair, 1, 1024)?,
            "modules" => self.modules = list(value),
            "shell" => self.shell = path()?,
            "command_line_add" => self.command_line_add = list(value),
            "command_line_remove" => self.command_line_remove = list(value),
            "kernel" => self.kernel = path()?.display().to_string(),
            "initrd" => self.initrd = path()?.display().to_string(),
            "ssh_key" => self.ssh_key = path()?,
            "ssh_known_hosts" => self.ssh_known_hosts = path()?,
            "ip" if value.is_empty() => self.ip = None,
            "ip" => {
                crate::network::Address::parse(value).map_err(|what| Error::Config {
                    line: pair.line,
                    what,
                    way_out: "write client::gateway:netmask::device:off, as \
                        192.0.2.5::192.0.2.1:255.255.255.0::eth0:off"
                        .to_owned(),
                })?;
                self.ip = Some(value.to_owned());
            }
            key => {
                return Err(Error::Config {
                    line: pair.line,
                    what: format!("`{key}` is no key"),
                    way_out: format!("the keys are {KEYS}"),
                });
            }
        }
        Ok(())
    }

    /// Gives the place of the kernel image of a release.
    #[must_use]
    pub fn kernel_of(&self, release: &str) -> PathBuf {
        self.kernel.replace("%r", release).into()
    }

    /// Gives the place of the initial file system for a release.
    #[must_use]
    pub fn initrd_of(&self, release: &str) -> PathBuf {
        self.initrd.replace("%r", release).into()
    }
}

fn list(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

fn absolute(pair: Pair<'_>) -> Result<PathBuf, Error> {
    let path = Path::new(pair.value);
    let goes_up = path
        .components()
        .any(|part| part == std::path::Component::ParentDir);
    let odd = pair.value.contains(|c: char| c.is_control() || c == '\'');
    if !path.is_absolute() || goes_up || odd {
        return Err(Error::Config {
            line: pair.line,
            what: format!("{} `{}` is no whole path", pair.key, pair.value),
            way_out: "write a path that begins with /, without .. and quotes".to_owned(),
        });
    }
    Ok(path.to_path_buf())
}

fn number(pair: Pair<'_>, least: u32, most: u32) -> Result<u32, Error> {
    let number = pair.value.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Error::Config {
            line: pair.line,
            what: format!("{} `{}` is no such number", pair.key, pair.value),
            way_out: format!("write a number from {least} to {most}"),
        })
}

fn word<T>(pair: Pair<'_>, of: impl Fn(&str) -> Option<T>, words: &[&str]) -> Result<T, Error> {
    of(pair.value).ok_or_else(|| Error::Config {
        line: pair.line,
        what: format!("{} cannot be `{}`", pair.key, pair.value),
        way_out: format!("write one of {}", words.join(", ")),
    })
}

fn target(pair: Pair<'_>) -> Result<Target, Error> {
    let wrong = |what: &str| Error::Config {
        line: pair.line,
        what: format!("target `{}` {what}", pair.value),
        way_out: "write local, uuid:UUID or ssh:USER@ADDRESS[:PORT]".to_owned(),
    };
    if pair.value == "local" {
        return Ok(Target::Local);
    }
    let uuid = pair.value.strip_prefix("uuid:");
    if let Some(uuid) = uuid.or(pair.value.strip_prefix("UUID=")) {
        let uuid = uuid.to_ascii_lowercase();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        let hex = uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if lengths != [8, 4, 4, 4, 12] || !hex {
            return Err(wrong("has no UUID of 32 digits"));
        }
        return Ok(Target::Uuid(uuid));
    }
    let ssh = pair.value.strip_prefix("ssh:");
    let ssh = ssh.ok_or_else(|| wrong("is of no known kind"))?;
    let (user, place) = ssh.split_once('@').ok_or_else(|| wrong("names no user"))?;
    let (host, port) = match place.split_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong("has no such port"))?),
        None => (place, 22),
    };
    let plain = |text: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        !text.is_empty() && !text.starts_with('-') && text.bytes().all(fine)
    };
    if !plain(user) || !plain(host) {
        return Err(wrong("has an odd name"));
    }
    Ok(Target::Ssh(SshTarget {
        user: user.to_owned(),
        host: host.to_owned(),
        port,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_says_what_holds_without_it() {
        assert_eq!(
            Config::parse(TEMPLATE).expect("comments"),
            Config::default()
        );
        let is_key =
            |line: &&str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
        let lines = TEMPLATE.lines().filter(is_key);
        let live: String = lines.map(|line| format!("{}\n", &line[1..])).collect();
        assert_eq!(
            Config::parse(&live).expect("keys"),
            Config::default(),
            "{live}"
        );
        let count = KEYS.split(", ").count();
        assert_eq!(
            live.lines().count(),
            count,
            "a key of the template is missing or new"
        );
    }

    #[test]
    fn values() {
        let config =
            Config::parse("target = ssh:dump@192.0.2.9:2222\nkeep=0\nmodules = a b").unwrap();
        let Target::Ssh(ssh) = &config.target else {
            panic!("{config:?}");
        };
        assert_eq!(
            (&*ssh.user, &*ssh.host, ssh.port),
            ("dump", "192.0.2.9", 2222)
        );
        assert_eq!((config.keep, config.modules.len()), (0, 2));
        assert_eq!(config.kernel_of("6.1"), Path::new("/boot/vmlinuz-6.1"));
    }

    #[test]
    fn mistakes_name_their_line_and_the_way_out() {
        let check = |text: &str, what: &str, way_out: &str| {
            let error = Config::parse(text).expect_err(text);
            assert!(error.to_string().contains(what), "{error}");
            assert!(
                error.way_out().unwrap_or_default().contains(way_out),
                "{error:?}"
            );
        };
        check("\nkeeep = 3", "line 2: `keeep` is no key", "keep");
        check("keep", "no `=`", "key = value");
        check("level = 32", "level `32`", "0 to 31");
        check("compression = gzip", "cannot be `gzip`", "zstd");
        check("path = crash", "no whole path", "begins with /");
        check("path = /a/../b", "no whole path", "without ..");
        check("target = nfs:x", "no known kind", "ssh:USER@ADDRESS");
        check("target = uuid:1234", "32 digits", "uuid:UUID");
        check("target = ssh:host", "names no user", "ssh:USER");
        check("target = ssh:a@-x", "odd name", "ssh:USER");
        check("target = ssh:a@b:x", "no such port", "PORT");
        check("ip = 1.2.3", "address", "client::gateway");
    }
}
