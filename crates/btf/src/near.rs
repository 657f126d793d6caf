//! Names near to one that does not exist, for "did you mean".

#[cfg(feature = "near")]
use crate::blob::Btf;
#[cfg(feature = "near")]
use crate::kind::Kind;
#[cfg(feature = "near")]
use crate::types::Type;

/// Gives up to `limit` of the `candidates` that are near to `name`, the nearest first.
///
/// Near is: within an edit distance of a third of the length (at most 3, a swap of neighbours
/// counting as one, case and leading underscores as nothing), or beginning with `name`.
pub fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
    limit: usize,
) -> Vec<&'a str> {
    nearest_of(name, &mut { candidates }, limit)
}

fn nearest_of<'a>(
    name: &str,
    candidates: &mut dyn Iterator<Item = &'a str>,
    limit: usize,
) -> Vec<&'a str> {
    let bound = (name.len() / 3).clamp(1, 3);
    // Ascending, each once.
    let mut found: Vec<(usize, &str)> = Vec::new();
    if limit == 0 || name.is_empty() {
        return Vec::new();
    }
    let bare = bared(name);
    for candidate in candidates {
        let (whole, short) = (candidate, bared(candidate));
        let marked = usize::from(name.len() - bare.len() != whole.len() - short.len());
        let score = if let Some(d) = distance(bare.as_bytes(), short.as_bytes(), bound) {
            2 * d + marked
        } else if name.len() >= 3 && candidate.starts_with(name) {
            // After every near spelling, the shortest first.
            2 * bound + 1 + candidate.len()
        } else {
            continue;
        };
        if let Err(at) = found.binary_search(&(score, candidate)) {
            found.insert(at, (score, candidate));
            found.truncate(limit);
        }
    }
    found.into_iter().map(|(_, name)| name).collect()
}

/// Gives a name without the underscores that it begins with: members are renamed so, for
/// everybody to look at their uses.
fn bared(name: &str) -> &str {
    match name.trim_start_matches('_') {
        "" => name,
        bare => bare,
    }
}

/// Gives the edit distance (insert, delete, replace, swap of neighbours) where it is at most
/// `bound`. Names of more than 128 bytes have none.
fn distance(a: &[u8], b: &[u8], bound: usize) -> Option<usize> {
    const MAX: usize = 128;
    let same = |x: u8, y: u8| x.eq_ignore_ascii_case(&y);
    if a.len().abs_diff(b.len()) > bound || a.len() > MAX || b.len() > MAX {
        return None;
    }
    // Each edit takes away and brings in one letter at most.
    if (letters(a) ^ letters(b)).count_ones() as usize > 2 * bound {
        return None;
    }
    // Three rows in turns; what lies further from the diagonal than the bound is beyond it anyway.
    let beyond = bound as u8 + 1;
    let mut rows = [[beyond; MAX + 1]; 3];
    for (j, d) in rows[0].iter_mut().enumerate().take(bound + 1) {
        *d = j as u8;
    }
    for i in 1..=a.len() {
        let (row, last, before) = (i % 3, (i + 2) % 3, (i + 1) % 3);
        let (from, to) = (i.saturating_sub(bound).max(1), (i + bound).min(b.len()));
        rows[row][from - 1] = if from == 1 {
            (i as u8).min(beyond)
        } else {
            beyond
        };
        let mut least = rows[row][from - 1];
        for j in from..=to {
            let cost = u8::from(!same(a[i - 1], b[j - 1]));
            let up = if j < i + bound { rows[last][j] } else { beyond };
            let mut d = (rows[last][j - 1] + cost)
                .min(up + 1)
                .min(rows[row][j - 1] + 1);
            if i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]) {
                d = d.min(rows[before][j - 2] + 1);
            }
            rows[row][j] = d.min(beyond);
            least = least.min(d);
        }
        if least > beyond - 1 {
            return None;
        }
    }
    let d = usize::from(rows[a.len() % 3][b.len()]);
    (d <= bound).then_some(d)
}

/// Gives which letters a name has, a bit for each; case is as nothing.
fn letters(name: &[u8]) -> u64 {
    let bit = |byte: &u8| 1 << (byte.to_ascii_lowercase() & 63);
    name.iter().fold(0, |all, byte| all | bit(byte))
}

#[cfg(feature = "near")]
impl Btf {
    /// Gives up to `limit` names of types of a kind that are near to `name`, the nearest first.
    #[must_use]
    pub fn near_names(&self, name: &str, kind: Kind, limit: usize) -> Vec<&str> {
        self.near_prefixed("", name, kind, limit)
    }

    /// Gives up to `limit` names of types of a kind that begin with `prefix` and go on near to `name`,
    /// without the prefix, the nearest first: hooks, for example, are `bpf_lsm_` and their name.
    #[must_use]
    pub fn near_prefixed(&self, prefix: &str, name: &str, kind: Kind, limit: usize) -> Vec<&str> {
        let names = self
            .ids()
            .filter(|&id| self.is_kind(id, kind))
            .filter_map(|id| self.name(id)?.strip_prefix(prefix));
        nearest(name, names.filter(|n| !n.is_empty()), limit)
    }

    /// Gives up to `limit` names of constants of enumerations that are near to `name`, the nearest
    /// first.
    #[must_use]
    pub fn near_enumerators(&self, name: &str, limit: usize) -> Vec<&str> {
        let names = self.ids().filter_map(|id| match self.get(id) {
            Some(Type::Enum(e)) => Some(e.enumerators().map(|c| c.name)),
            _ => None,
        });
        nearest(name, names.flatten(), limit)
    }

    /// Gives up to `limit` names of members of a structure that are near to `name`, the nearest
    /// first.
    #[must_use]
    pub fn near_members(&self, id: crate::TypeId, name: &str, limit: usize) -> Vec<&str> {
        nearest(
            name,
            self.fields(id).into_iter().map(|(name, _)| name),
            limit,
        )
    }
}

#[cfg(all(test, feature = "near"))]
mod tests {
    use super::*;

    fn check(name: &str, candidates: &str, expected: &str) {
        let found = nearest(name, candidates.split(' '), 3);
        assert_eq!(found.join(" "), expected, "near {name}");
    }

    #[test]
    fn near_names() {
        check(
            "fliename",
            "file filename filenames dentry",
            "filename filenames",
        );
        check("PID", "pid tgid ppid", "pid ppid");
        check(
            "task",
            "task_struct tsk task_group mm",
            "tsk task_group task_struct",
        );
        check("xyzzy", "pid tgid comm", "");
        check("ab", "ba abcdefg", "ba");
        check("state", "stats __state _state_b stat", "__state stat stats");
        check(
            "__count",
            "count ___count counter",
            "___count count counter",
        );
        check("comm", "comm", "comm");
        check("", "a b", "");
        check("aaaa", "aaab aaac aaad aaae", "aaab aaac aaad");
    }

    #[test]
    fn names_behind_a_prefix() {
        use crate::write::Builder;
        let mut b = Builder::new();
        let int = b.add_int("int", 4, crate::Encoding::Signed);
        for name in ["btf_trace_sched_switch", "sched_swich", "btf_trace_"] {
            b.add_typedef(name, int);
        }
        b.add_struct("btf_trace_sched_swith", 4, &[]);
        let btf = Btf::parse(b.finish()).unwrap();
        let near = |name| btf.near_prefixed("btf_trace_", name, Kind::Typedef, 3);
        assert_eq!(near("sched_swtich"), ["sched_switch"]);
        assert_eq!(near("other"), [""; 0]);
        assert_eq!(
            btf.near_names("sched_switch", Kind::Typedef, 3),
            ["sched_swich"]
        );
    }

    #[test]
    fn distances() {
        let d = |a: &str, b: &str| distance(a.as_bytes(), b.as_bytes(), 3);
        assert_eq!(d("kitten", "sitting"), Some(3));
        assert_eq!(d("abcd", "abdc"), Some(1));
        assert_eq!(d("abc", "abc"), Some(0));
        assert_eq!(d("abcdefgh", "hgfedcba"), None);
        assert_eq!(d("", "abc"), Some(3));
        assert_eq!(d(&"x".repeat(200), &"x".repeat(200)), None);
    }
}
