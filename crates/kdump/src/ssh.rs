//! How another machine is asked: by the system's own ssh.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::config::SshTarget;

/// Where ssh is.
pub(crate) const SSH: &str = "/usr/bin/ssh";

/// Whose keys it uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    /// The private key.
    pub(crate) own: &'a Path,
    /// The keys of known hosts.
    pub(crate) hosts: &'a Path,
}

/// Runs words on another machine: no questions, no key that is not known, and an end when it is
/// silent.
pub(crate) fn ssh(program: &Path, to: &SshTarget, keys: Keys<'_>, words: &str) -> Command {
    let mut command = Command::new(program);
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=10",
        "ServerAliveCountMax=6",
    ] {
        command.arg("-o").arg(option);
    }
    command
        .args(["-F", "none", "-T", "-o"])
        .arg(format!("UserKnownHostsFile={}", keys.hosts.display()))
        .arg("-i")
        .arg(keys.own)
        .arg("-p")
        .arg(to.port.to_string())
        .arg(format!("{}@{}", to.user, to.host))
        .arg(words)
        .stdin(Stdio::null());
    command
}
