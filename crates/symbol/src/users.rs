//! User ids to names.

use std::sync::OnceLock;

/// The users of `/etc/passwd`, which is all a static binary can ask: other sources need libraries
/// loaded at run time.
#[derive(Debug, Default)]
pub struct UserNames {
    /// Ascending by id; several names of one id in the order of the file.
    users: OnceLock<Vec<(u32, String)>>,
}

impl UserNames {
    /// Prepares this machine's users. Nothing is read yet.
    #[must_use]
    pub fn new() -> UserNames {
        UserNames::default()
    }

    /// Reads users from the text of a passwd file. Lines that are not `name:password:uid:…` are
    /// left out, as the C library does.
    #[must_use]
    pub fn parse(text: &[u8]) -> UserNames {
        UserNames {
            users: OnceLock::from(read(text)),
        }
    }

    /// Gives the name of a user, of several the first; none where the file has none or cannot be read.
    #[must_use]
    pub fn name(&self, uid: u32) -> Option<&str> {
        let users = self.users();
        let first = users.partition_point(|user| user.0 < uid);
        users
            .get(first)
            .filter(|user| user.0 == uid)
            .map(|user| user.1.as_str())
    }

    /// Gives the id of a user by name.
    #[must_use]
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users()
            .iter()
            .find(|user| user.1 == name)
            .map(|user| user.0)
    }

    fn users(&self) -> &[(u32, String)] {
        self.users
            .get_or_init(|| read(&std::fs::read("/etc/passwd").unwrap_or_default()))
    }
}

fn read(text: &[u8]) -> Vec<(u32, String)> {
    let user = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.split(':');
        // `+` and `-` begin lines for sources that are not read here.
        let name = fields
            .next()
            .filter(|n| !n.is_empty() && !n.starts_with(['+', '-', '#']))?;
        let uid = fields.nth(1)?.parse().ok()?;
        Some((uid, name.to_owned()))
    };
    let mut users: Vec<(u32, String)> = text.split(|&b| b == b'\n').filter_map(user).collect();
    users.sort_by_key(|user| user.0);
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
root:x:0:0:root:/root:/bin/bash
toor:x:0:0::/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
# comment:x:7:7
+nis:x:8:8
www-data:x:33:33
short:x
broken:x:minus:1
:x:9:9

bad\xff:x:10:10
last:x:4294967295:1";

    #[test]
    fn names() {
        let check = |uid, expected: Option<&str>| {
            assert_eq!(UserNames::parse(TEXT).name(uid), expected, "{uid}");
        };
        check(0, Some("root"));
        check(33, Some("www-data"));
        check(65534, Some("nobody"));
        check(u32::MAX, Some("last"));
        for uid in [1, 7, 8, 9, 10] {
            check(uid, None);
        }
    }

    #[test]
    fn ids() {
        let users = UserNames::parse(TEXT);
        assert_eq!(users.uid("www-data"), Some(33));
        assert_eq!(users.uid("toor"), Some(0));
        assert_eq!(users.uid("short"), None);
        assert_eq!(UserNames::parse(b"").name(0), None);
    }
}
