use std::sync::Arc;

use super::*;

/// Writes a parsed format as text: conversions in braces with all that was read.
fn show(format: &Format) -> String {
    let mut out = String::new();
    for piece in &format.pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Conversion(c) => {
                out.push('{');
                let flags = [
                    (c.flags.left, '-'),
                    (c.flags.plus, '+'),
                    (c.flags.space, '_'),
                    (c.flags.alternate, '#'),
                    (c.flags.zero, '0'),
                ];
                out.extend(flags.iter().filter(|(on, _)| *on).map(|(_, c)| c));
                if c.width > 0 {
                    out.push_str(&format!("w{}", c.width));
                }
                if let Some(precision) = c.precision {
                    out.push_str(&format!("p{precision}"));
                }
                out.push_str(match c.length {
                    Length::Int => "",
                    Length::Char => "8",
                    Length::Short => "16",
                    Length::Long => "64",
                });
                out.push_str(c.kind.letters());
                out.push_str(&format!("@{}+{}", c.at, c.len));
                out.push('}');
            }
        }
    }
    out
}

#[test]
fn parses() {
    let cases = [
        ("", ""),
        ("plain\n", "plain\n"),
        ("%d", "{d@0+2}"),
        ("%i %u", "{d@0+2} {u@3+2}"),
        ("a%sb", "a{s@1+2}b"),
        ("%o%x%X%c%p", "{o@0+2}{x@2+2}{X@4+2}{c@6+2}{p@8+2}"),
        ("%r|%rx|%rh|%ry", "{r@0+2}|{rx@3+3}|{rh@7+3}|{r@11+2}y"),
        ("%gr|%grx", "{gr@0+3}|{gr@4+3}x"),
        ("%-5d", "{-w5d@0+4}"),
        ("%+d% d%#x%05d", "{+d@0+3}{_d@3+3}{#x@6+3}{0w5d@9+4}"),
        ("%0-5d", "{-0w5d@0+5}"),
        ("%-10.10s", "{-w10p10s@0+8}"),
        ("%.3s", "{p3s@0+4}"),
        ("%.0d", "{p0d@0+4}"),
        ("%hhx %hx %lx", "{8x@0+4} {16x@5+3} {64x@9+3}"),
        (
            "%lld %jd %zu %td",
            "{64d@0+4} {64d@5+3} {64u@9+3} {64d@13+3}",
        ),
        ("%Ld %hld", "{d@0+3} {d@4+4}"),
        ("%*d %.*s", "{d@0+3} {s@4+4}"),
        ("100%%", "100%"),
        ("%5%|", "%|"),
        ("50% done", "50{_d@2+3}one"),
        ("%", "%"),
        ("%5", "%5"),
        ("%-", "%-"),
        ("%.d", "%.d"),
        ("%y %d", "%y {d@3+2}"),
        ("%é%d", "%é{d@3+2}"),
        ("%ll", "%ll"),
    ];
    for (input, expected) in cases {
        let format = Format::parse(input).unwrap_or_else(|e| panic!("{input:?}: {e}"));
        assert_eq!(show(&format), expected, "{input:?}");
    }
}

#[test]
fn refuses() {
    let cases = [
        ("%f", 0, 2, "unsupported format specifier: f"),
        ("ab %5.2lf", 3, 6, "unsupported format specifier: f"),
        ("%g", 0, 2, "unsupported format specifier: g"),
        ("%n", 0, 2, "unsupported format specifier: n"),
        (
            "x%65536d",
            1,
            7,
            "width or precision of a format specifier is above 65535",
        ),
        (
            "%.99999999999d",
            0,
            14,
            "width or precision of a format specifier is above 65535",
        ),
    ];
    for (input, at, len, message) in cases {
        let error = Format::parse(input).expect_err(input);
        assert_eq!(
            (error.at, error.len, error.to_string().as_str()),
            (at, len, message)
        );
    }
}

#[test]
fn checks_types() {
    let int = DataType::Int {
        bytes: 4,
        signed: true,
    };
    let str = DataType::Str { capacity: 16 };
    let buf = DataType::Buffer { capacity: 8 };
    let one = Arc::<[(i64, String)]>::from(vec![(1, "ONE".to_owned())]);
    let en = DataType::Enum {
        bytes: 4,
        signed: false,
        name: "e".into(),
        variants: one,
    };
    let tuple = DataType::Tuple(DataType::lay_out(vec![("0".into(), int.clone())]).0);
    let cases: [(&str, &[&DataType], &[&str]); 16] = [
        ("%d", &[&int], &[]),
        ("%d %x", &[&en, &DataType::Bool], &[]),
        ("%p", &[&DataType::Pointer], &[]),
        ("%s %s %s", &[&int, &buf, &tuple], &[]),
        ("%r %rx %rh", &[&buf, &buf, &buf], &[]),
        ("hi", &[], &[]),
        (
            "%d",
            &[],
            &["not enough arguments for format string (0 supplied, 1 expected)"],
        ),
        (
            "",
            &[&int],
            &["too many arguments for format string (1 supplied, 0 expected)"],
        ),
        (
            "%d",
            &[&str],
            &["unsupported format specifier for type 'string[16]': d"],
        ),
        (
            "%r",
            &[&str],
            &["unsupported format specifier for type 'string[16]': r"],
        ),
        (
            "%rx",
            &[&int],
            &["unsupported format specifier for type 'int32': rx"],
        ),
        (
            "%x",
            &[&tuple],
            &["unsupported format specifier for type '(int32)': x"],
        ),
        (
            "%c",
            &[&buf],
            &["unsupported format specifier for type 'buffer[8]': c"],
        ),
        (
            "%p",
            &[&DataType::KernelSymbol],
            &["unsupported format specifier for type 'ksym_t': p"],
        ),
        (
            "%s",
            &[&DataType::None],
            &["unable to print none type for specifier: s"],
        ),
        (
            "%d %d",
            &[&str],
            &[
                "not enough arguments for format string (1 supplied, 2 expected)",
                "unsupported format specifier for type 'string[16]': d",
            ],
        ),
    ];
    for (format, types, expected) in cases {
        let types: Vec<DataType> = types.iter().map(|ty| (*ty).clone()).collect();
        let problems = Format::parse(format).expect(format).check(&types);
        let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(messages, expected, "{format:?}");
    }
}

#[test]
fn any_text_parses_or_is_refused() {
    let letters: Vec<char> = "%%%%-+ #0159.*hlLjztdiouxXcsprgefné".chars().collect();
    let mut state = 88_172_645_463_325_252u64;
    let mut conversions = 0;
    for _ in 0..50_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push(letters[usize::try_from(state % letters.len() as u64).expect("small")]);
        }
        match Format::parse(&text) {
            Ok(format) => {
                for conversion in format.conversions() {
                    let span = &text[conversion.at..conversion.at + conversion.len];
                    assert!(span.starts_with('%'), "{text:?}");
                    conversions += 1;
                }
            }
            Err(error) => {
                let span = &text[error.at..error.at + error.len];
                assert!(span.starts_with('%'), "{text:?}");
            }
        }
    }
    assert!(conversions > 10_000, "only {conversions} conversions");
}
