//! `/tmp/perf-PID.map`: what just-in-time compilers say of the code they write.

use std::sync::Arc;

use super::functions::bytes_of;

/// Functions by their addresses.
#[derive(Debug, Default)]
pub(super) struct PerfMap {
    all: Vec<(u64, u64, Arc<str>)>,
    /// About how many bytes it takes.
    pub(super) bytes: usize,
}

impl PerfMap {
    /// Reads lines of address and size in hexadecimal digits and a name. Of two at one address
    /// the later counts.
    pub(super) fn parse(text: &str) -> PerfMap {
        let line = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            let mut number = || {
                let text = parts.next()?;
                u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
            };
            let (start, size) = (number()?, number()?);
            Some((start, size, parts.next()?.trim().into()))
        };
        let mut all: Vec<(u64, u64, Arc<str>)> = text.lines().filter_map(line).collect();
        all.reverse();
        all.sort_by_key(|(start, ..)| *start);
        all.dedup_by_key(|(start, ..)| *start);
        let bytes = bytes_of(&all);
        PerfMap { all, bytes }
    }

    pub(super) fn find(&self, address: u64) -> Option<(&Arc<str>, u64)> {
        let after = self.all.partition_point(|(start, ..)| *start <= address);
        let (start, size, name) = self.all.get(after.checked_sub(1)?)?;
        let inside = address - start;
        (inside < *size).then_some((name, inside))
    }
}

#[cfg(test)]
mod tests {
    use super::PerfMap;

    #[test]
    fn written_code_has_names() {
        let map = PerfMap::parse(
            "1000 20 LazyCompile:~old a.js:1\n1000 10 new name\n0x2000 8 second\nbad\n",
        );
        let check = |address, expected: Option<(&str, u64)>| {
            let found = map.find(address).map(|(name, inside)| (&**name, inside));
            assert_eq!(found, expected, "{address:#x}");
        };
        check(0x1004, Some(("new name", 4)));
        check(0x1010, None);
        check(0x2007, Some(("second", 7)));
        check(0x10, None);
    }
}
