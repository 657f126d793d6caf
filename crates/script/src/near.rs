//! "Did you mean …?": the nearest of known names to one that is not known.

/// Longest name, in characters, that is compared; longer ones are never near anything.
const LONGEST: usize = 64;

/// Gives the candidate that a writer of `name` most likely meant, if one is near enough.
///
/// Near is a Damerau-Levenshtein distance (adjacent swaps count one) of at most a third of the
/// longer name's characters, at least 1. Case alone is never a difference. Of equally near
/// candidates the first wins, so that the answer depends on the order of `candidates` alone.
#[must_use]
pub fn near<I>(name: &str, candidates: I) -> Option<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let wanted = fold(name)?;
    let mut best: Option<(usize, String)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        if candidate == name {
            continue;
        }
        let Some(have) = fold(candidate) else {
            continue;
        };
        let mut limit = (wanted.len().max(have.len()) / 3).max(1);
        if let Some((distance, _)) = &best {
            match distance.checked_sub(1) {
                Some(better) => limit = limit.min(better),
                None => break,
            }
        }
        if let Some(distance) = distance_within(&wanted, &have, limit) {
            best = Some((distance, candidate.to_owned()));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Gives up to `count` near candidates, the nearest first; equally near ones in their order.
#[must_use]
pub fn nearest<I>(name: &str, candidates: I, count: usize) -> Vec<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let Some(wanted) = fold(name) else {
        return Vec::new();
    };
    let mut found: Vec<(usize, String)> = Vec::new();
    for candidate in candidates {
        let candidate = candidate.as_ref();
        if candidate == name {
            continue;
        }
        let Some(have) = fold(candidate) else {
            continue;
        };
        let limit = (wanted.len().max(have.len()) / 3).max(1);
        let Some(distance) = distance_within(&wanted, &have, limit) else {
            continue;
        };
        let place = found.partition_point(|(other, _)| *other <= distance);
        if place < count && !found.iter().any(|(_, other)| other == candidate) {
            found.insert(place, (distance, candidate.to_owned()));
            found.truncate(count);
        }
    }
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Lower-cases a name; `None` where it is empty or too long to compare.
fn fold(name: &str) -> Option<Vec<char>> {
    let chars: Vec<char> = name
        .chars()
        .take(LONGEST + 1)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    (!chars.is_empty() && chars.len() <= LONGEST).then_some(chars)
}

/// Gives the distance of two names where it is at most `limit`.
fn distance_within(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    // Nothing in common but length is no likeness: one character against another.
    if a.len() == 1 && b.len() == 1 {
        return (a == b).then_some(0);
    }
    let width = b.len() + 1;
    let mut before = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    let mut row = vec![0; width];
    for (i, x) in a.iter().enumerate() {
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row[j + 1] = cost;
        }
        if row.iter().all(|cost| *cost > limit) {
            return None;
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    (last[width - 1] <= limit).then_some(last[width - 1])
}

#[cfg(test)]
mod tests {
    use super::{near, nearest};

    fn check(name: &str, candidates: &[&str], expected: Option<&str>) {
        assert_eq!(near(name, candidates.iter()).as_deref(), expected, "{name}");
    }

    #[test]
    fn the_nearest_name_is_found() {
        check("prnitf", &["print", "printf", "strftime"], Some("printf"));
        check("cmm", &["cpu", "comm"], Some("comm"));
        check(
            "kproble",
            &["uprobe", "kprobe", "kretprobe"],
            Some("kprobe"),
        );
        check("PID", &["tid", "pid"], Some("pid"));
        check("esle", &["else", "if"], Some("else"));
    }

    #[test]
    fn far_names_and_the_name_itself_are_not() {
        check("foo", &["kprobe", "uprobe"], None);
        check("x", &["y"], None);
        check("pid", &["pid"], None);
        check("", &["pid"], None);
        check(&"a".repeat(65), &[&"a".repeat(64)], None);
    }

    #[test]
    fn the_first_of_equals_wins() {
        check("tie", &["tid", "tier", "pie"], Some("tid"));
    }

    #[test]
    fn several_come_in_order() {
        let names = ["prinf", "print", "printf", "printx", "exit"];
        assert_eq!(nearest("printg", names, 3), ["print", "printf", "printx"]);
        assert!(nearest("printg", names, 0).is_empty());
    }
}
