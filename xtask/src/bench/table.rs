//! The table of figures: `figure | kscope | peer | ratio | aim | met?`.

/// Widths of the columns.
const WIDTHS: [usize; 6] = [58, 13, 13, 8, 10, 5];

/// How a number is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Milliseconds,
    Nanoseconds,
    Seconds,
    Megabytes,
    PerSecond,
    Count,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Milliseconds => format!("{value:.1} ms"),
            Unit::Nanoseconds => format!("{value:.1} ns"),
            Unit::Seconds => format!("{value:.1} s"),
            Unit::Megabytes => format!("{value:.1} MB"),
            Unit::PerSecond => format!("{:.0} k/s", value / 1e3),
            Unit::Count => format!("{value:.0}"),
        }
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// At most this part of the peer's; for 1, give or take the 5 % by which equal programs differ.
    AtMost(f64),
    /// At least so many times the peer's.
    AtLeast(f64),
    /// At most this number, whatever the peer has.
    Within(f64),
    /// Only shown.
    None,
}

/// One line.
pub(crate) struct Figure<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: Unit,
    pub(crate) kscope: f64,
    pub(crate) peer: Option<f64>,
    pub(crate) aim: Aim,
}

/// Prints lines as they come, and sums up.
pub(crate) struct Table {
    met: usize,
    missed: usize,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(peer: &str) -> Self {
        let titles = ["figure", "kscope", peer, "ratio", "aim", "met?"];
        columns(&titles.map(str::to_string), &WIDTHS);
        rule(&WIDTHS);
        Self {
            met: 0,
            missed: 0,
            notes: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, figure: &Figure<'_>) {
        let ratio = figure.peer.and_then(|peer| ratio(figure.kscope, peer));
        let (aim, met) = figure.aim.judge(figure, ratio);
        match met {
            Some(true) => self.met += 1,
            Some(false) => self.missed += 1,
            None => {}
        }
        let cells = [
            figure.name.to_string(),
            figure.unit.show(figure.kscope),
            figure
                .peer
                .map_or("-".to_string(), |peer| figure.unit.show(peer)),
            ratio.map_or("-".to_string(), |ratio| format!("{ratio:.3}")),
            aim,
            met.map_or("-", |met| if met { "yes" } else { "no" })
                .to_string(),
        ];
        columns(&cells, &WIDTHS);
    }

    /// Keeps a remark for the end.
    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    pub(crate) fn finish(self) {
        println!("\n{} aims met, {} missed", self.met, self.missed);
        for note in self.notes {
            println!("note: {note}");
        }
    }
}

impl Aim {
    /// Gives the aim as text and whether it is met.
    fn judge(self, figure: &Figure<'_>, ratio: Option<f64>) -> (String, Option<bool>) {
        match self {
            Aim::AtMost(part) => {
                let text = if part < 1.0 {
                    format!("<= 1/{:.0}", 1.0 / part)
                } else {
                    format!("<= {part}")
                };
                // Two equal programs differ by as much; where it is far below the peer's, no grace is needed.
                let noise = if part < 1.0 { 1.0 } else { 1.05 };
                let met = figure.peer.map(|peer| figure.kscope <= peer * part * noise);
                (text, met)
            }
            Aim::AtLeast(times) => (format!(">= {times}"), ratio.map(|ratio| ratio >= times)),
            Aim::Within(most) => (
                format!("<= {}", figure.unit.show(most)),
                Some(figure.kscope <= most),
            ),
            Aim::None => ("-".to_string(), None),
        }
    }
}

/// A table of three: kscope beside two peers, of which the first is the one to be measured by.
pub(crate) struct Versus {
    met: usize,
    missed: usize,
}

/// Widths of its columns.
const VERSUS: [usize; 8] = [46, 11, 10, 6, 10, 6, 10, 5];

impl Versus {
    pub(crate) fn new(names: [&str; 3]) -> Self {
        let [first, second, third] = names;
        columns(
            &[
                "figure", first, second, "ratio", third, "ratio", "aim", "met?",
            ]
            .map(str::to_string),
            &VERSUS,
        );
        rule(&VERSUS);
        Self { met: 0, missed: 0 }
    }

    /// Adds a line; nothing is shown where kscope's own number is missing.
    pub(crate) fn add(&mut self, name: &str, unit: Unit, values: [Option<f64>; 3], aim: Aim) {
        let [Some(kscope), first, second] = values else {
            return;
        };
        let figure = Figure {
            name,
            unit,
            kscope,
            peer: first,
            aim,
        };
        let by = |peer: Option<f64>| peer.and_then(|peer| ratio(kscope, peer));
        let (aim, met) = aim.judge(&figure, by(first));
        match met {
            Some(true) => self.met += 1,
            Some(false) => self.missed += 1,
            None => {}
        }
        let show = |value: Option<f64>| value.map_or("-".to_string(), |value| unit.show(value));
        let times = |peer| by(peer).map_or("-".to_string(), |ratio| format!("{ratio:.2}"));
        let met = met.map_or("-", |met| if met { "yes" } else { "no" });
        columns(
            &[
                name.to_string(),
                unit.show(kscope),
                show(first),
                times(first),
                show(second),
                times(second),
                aim,
                met.to_string(),
            ],
            &VERSUS,
        );
    }

    pub(crate) fn finish(self) {
        println!("\n{} aims met, {} missed", self.met, self.missed);
    }
}

/// Gives the ratio, unless the peer's number is too small to divide by.
fn ratio(kscope: f64, peer: f64) -> Option<f64> {
    (peer > 0.0).then(|| kscope / peer)
}

/// Prints a line; the first column is flush left, the others flush right.
fn columns(cells: &[String], widths: &[usize]) {
    let cells = cells.iter().zip(widths.iter().copied()).enumerate();
    let cells: Vec<String> = cells
        .map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        })
        .collect();
    println!("{}", cells.join(" | ").trim_end());
}

fn rule(widths: &[usize]) {
    let width = widths.iter().sum::<usize>() + 3 * (widths.len() - 1);
    println!("{}", "-".repeat(width));
}

/// Gives the middle of some numbers; none of none.
pub(crate) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(numbers[middle]),
        _ => Some((numbers[middle - 1] + numbers[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{Aim, Figure, Unit, median, ratio};

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn aims() {
        let check = |aim: Aim, kscope: f64, peer: Option<f64>, expected: (&str, Option<bool>)| {
            let figure = Figure {
                name: "",
                unit: Unit::Milliseconds,
                kscope,
                peer,
                aim,
            };
            let ratio = peer.and_then(|peer| ratio(kscope, peer));
            let (text, met) = aim.judge(&figure, ratio);
            assert_eq!((text.as_str(), met), expected, "{aim:?} {kscope} {peer:?}");
        };
        check(
            Aim::AtMost(0.05),
            10.0,
            Some(200.0),
            ("<= 1/20", Some(true)),
        );
        check(
            Aim::AtMost(0.05),
            10.1,
            Some(200.0),
            ("<= 1/20", Some(false)),
        );
        check(Aim::AtMost(1.0), -0.5, Some(0.0), ("<= 1", Some(true)));
        check(Aim::AtMost(1.0), 1.0, None, ("<= 1", None));
        check(Aim::AtLeast(4.0), 4.0, Some(1.0), (">= 4", Some(true)));
        check(Aim::Within(10.0), 11.0, None, ("<= 10.0 ms", Some(false)));
        check(Aim::None, 11.0, Some(1.0), ("-", None));
    }
}
