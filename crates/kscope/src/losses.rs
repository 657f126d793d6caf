//! What is said at the end of a run: what was lost of its output.

use kscope_runtime::Summary;

/// Gives a line for each kind of loss.
pub(crate) fn losses(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |count: u64, line: &dyn Fn(u64) -> String| {
        if count > 0 {
            lines.push(line(count));
        }
    };
    add(summary.lost_events, &|count| {
        format!("WARNING: Total lost event count: {count}")
    });
    add(summary.lost_stacks, &|count| {
        let stacks = counted(count, "stack", "stacks");
        format!("WARNING: {stacks} could not be stored")
    });
    add(summary.cut_strings, &|count| {
        let were = counted(count, "string was", "strings were");
        format!("WARNING: {were} cut: raise max_strlen (BPFTRACE_MAX_STRLEN)")
    });
    add(summary.cut_arguments, &|count| {
        format!(
            "WARNING: lists of arguments that were cut, being longer than what is read of them: {count}"
        )
    });
    add(summary.missed_runs, &|count| {
        let came = counted(
            count,
            "event was missed: it came while the program of its probe",
            "events were missed: they came while the program of their probe",
        );
        format!("WARNING: {came} ran on the same CPU")
    });
    add(summary.missed_calls, &|count| {
        let missed = counted(
            count,
            "event of a kernel function was missed",
            "events of kernel functions were missed",
        );
        format!(
            "WARNING: {missed}: more calls were under way than the kernel follows to their return, or another probe was being handled"
        )
    });
    // What has been told one by one is not told again.
    let maps = summary.full_maps.iter();
    for map in maps.filter(|map| map.told < map.refused) {
        let above = match map.told {
            0 => String::new(),
            told => format!(" ({told} of them are told above)"),
        };
        lines.push(format!(
            "WARNING: map {} was full: {}{above}; raise max_map_keys in the config block",
            map.name,
            counted(map.refused, "update was lost", "updates were lost")
        ));
    }
    lines
}

/// Gives a number with the word for one or for many.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use kscope_runtime::FullMap;

    use super::*;

    #[test]
    fn each_kind_of_loss_is_told_once() {
        let check = |summary: Summary, expected: &[&str]| assert_eq!(losses(&summary), expected);
        let none = Summary::default;
        check(none(), &[]);
        check(
            Summary {
                lost_events: 2,
                lost_stacks: 3,
                missed_runs: 6,
                missed_calls: 7,
                ..none()
            },
            &[
                "WARNING: Total lost event count: 2",
                "WARNING: 3 stacks could not be stored",
                "WARNING: 6 events were missed: they came while the program of their probe ran on the same CPU",
                "WARNING: 7 events of kernel functions were missed: more calls were under way than the kernel follows to their return, or another probe was being handled",
            ],
        );
        check(
            Summary {
                cut_strings: 4,
                cut_arguments: 1,
                ..none()
            },
            &[
                "WARNING: 4 strings were cut: raise max_strlen (BPFTRACE_MAX_STRLEN)",
                "WARNING: lists of arguments that were cut, being longer than what is read of them: 1",
            ],
        );
        check(
            Summary {
                lost_stacks: 1,
                cut_strings: 1,
                missed_runs: 1,
                missed_calls: 1,
                ..none()
            },
            &[
                "WARNING: 1 stack could not be stored",
                "WARNING: 1 string was cut: raise max_strlen (BPFTRACE_MAX_STRLEN)",
                "WARNING: 1 event was missed: it came while the program of its probe ran on the same CPU",
                "WARNING: 1 event of a kernel function was missed: more calls were under way than the kernel follows to their return, or another probe was being handled",
            ],
        );
        let full = |refused, told| FullMap {
            name: "@a".to_owned(),
            refused,
            told,
        };
        check(
            Summary {
                full_maps: vec![full(3, 3), full(1, 0), full(9, 0), full(9, 3)],
                ..none()
            },
            &[
                "WARNING: map @a was full: 1 update was lost; raise max_map_keys in the config block",
                "WARNING: map @a was full: 9 updates were lost; raise max_map_keys in the config block",
                "WARNING: map @a was full: 9 updates were lost (3 of them are told above); raise max_map_keys in the config block",
            ],
        );
    }
}
