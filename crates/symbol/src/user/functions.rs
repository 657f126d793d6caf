//! The functions of one file, by where they lie.

use std::sync::Arc;

/// A function as a reader of a file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFunction {
    /// Its name.
    pub name: String,
    /// Offset in bytes of its begin, into the file.
    pub offset: u64,
    /// Size in bytes; 0 where nobody says.
    pub size: u64,
}

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFile {
    /// Its functions, in any order.
    pub functions: Vec<UserFunction>,
    /// Its build id in hexadecimal digits.
    pub build_id: Option<String>,
}

/// Functions in the order of their offsets, each place once.
#[derive(Debug, Default)]
pub(super) struct Functions {
    all: Vec<(u64, u64, Arc<str>)>,
    pub(super) build_id: Option<Arc<str>>,
}

impl Functions {
    pub(super) fn new(file: UserFile) -> Functions {
        let mut functions = file.functions;
        functions.sort_by(|left, right| order(left).cmp(&order(right)));
        functions.dedup_by_key(|function| function.offset);
        let all = functions.into_iter();
        Functions {
            all: all.map(|f| (f.offset, f.size, f.name.into())).collect(),
            build_id: file.build_id.map(Into::into),
        }
    }

    /// Gives about how many bytes they take.
    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.all)
    }

    /// Finds the function that an offset lies in, and how many bytes from its begin.
    pub(super) fn find(&self, offset: u64) -> Option<(&Arc<str>, u64)> {
        let after = self.all.partition_point(|(start, ..)| *start <= offset);
        let before = self.all.get(..after)?.iter().rev();
        // A short function may lie in front of the one that goes on behind it. One whose end nobody
        // knows ends where the next begins.
        let mut near = before.take(NEIGHBOURS).enumerate();
        near.find_map(|(behind, (start, size, name))| {
            let inside = offset - start;
            let is_in = inside < *size || (*size == 0 && behind == 0);
            is_in.then_some((name, inside))
        })
    }
}

/// Functions before an address that are looked at.
const NEIGHBOURS: usize = 8;

fn order(function: &UserFunction) -> (u64, bool, (usize, usize, &str)) {
    let UserFunction { name, offset, size } = function;
    (*offset, *size == 0, preference(name))
}

/// Orders names of one place: those that programs call come first.
fn preference(name: &str) -> (usize, usize, &str) {
    let underscores = name.bytes().take_while(|byte| *byte == b'_').count();
    (underscores, name.len(), name)
}

/// Gives about how many bytes functions with names take.
pub(super) fn bytes_of(all: &Vec<(u64, u64, Arc<str>)>) -> usize {
    /// The two counters before a shared text, and what the allocator adds.
    const OF_NAME: usize = 32;
    let names = all.iter().map(|(.., name)| name.len() + OF_NAME);
    names.sum::<usize>() + all.capacity() * size_of::<(u64, u64, Arc<str>)>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions() -> Functions {
        let function = |name: &str, offset, size| UserFunction {
            name: name.to_owned(),
            offset,
            size,
        };
        Functions::new(UserFile {
            functions: vec![
                function("open", 0x1f0, 0),
                function("second", 0x200, 0x10),
                function("__read", 0x100, 0x20),
                function("read", 0x100, 0x20),
                function("outer", 0x300, 0x100),
                function("inner", 0x310, 0x10),
                function("_fini", 0x500, 0),
            ],
            build_id: None,
        })
    }

    #[test]
    fn places_have_names() {
        let all = functions();
        let check = |offset, expected: Option<(&str, u64)>| {
            let found = all.find(offset).map(|(name, inside)| (&**name, inside));
            assert_eq!(found, expected, "{offset:#x}");
        };
        check(0x100, Some(("read", 0)));
        check(0x11f, Some(("read", 0x1f)));
        check(0x120, None);
        check(0x1ff, Some(("open", 0xf)));
        check(0x205, Some(("second", 5)));
        check(0x215, None);
        check(0x315, Some(("inner", 5)));
        check(0x325, Some(("outer", 0x25)));
        check(0x504, Some(("_fini", 4)));
        check(0x0, None);
    }
}
