//! `kscope crash VMCORE read`

use std::fmt::Write as _;

use clap::Args;
use kscope_dump::Kernel;
use kscope_memory::{Gap, GapAt, Memory, PhysAddr, PhysMemory as _, VirtAddr};
use kscope_rows::Value;

use super::value::{self, Gaps, bytes, gap_in};
use super::{address, shown::missing};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::console::say;
use crate::crash::analysis::{Analysis, Ask, Need};
use crate::error::Failure;

/// Bytes of a line.
const LINE: u64 = 16;
/// Bytes of a pointer.
const POINTER: u64 = 8;
/// Longest text that is read.
const TEXT: u64 = 1 << 16;

/// Print memory as numbers, symbols or text
///
/// An address is hexadecimal, SYMBOL, SYMBOL+0x10, MODULE:SYMBOL, of what each CPU has its own
/// SYMBOL@CPU, of a task pid:PID, of a member init_task.tasks; behind a pointer *SYMBOL. What the dump does not have is said in its place.
#[derive(Args, Debug)]
pub(in crate::crash) struct ReadArgs {
    /// Where to read
    #[arg(value_name = "ADDRESS")]
    at: String,
    /// How many numbers; of text, bytes at most
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    count: Option<u32>,
    /// Bytes of a number
    #[arg(short, long, value_name = "BYTES", default_value = "8", value_parser = ["1", "2", "4", "8"])]
    unit: String,
    /// Print pointers with what they lead to, one a line
    #[arg(short, long, conflicts_with_all = ["unit", "text"])]
    symbols: bool,
    /// Print the text that ends with a NUL
    #[arg(short, long, conflicts_with = "unit")]
    text: bool,
    /// The address is physical
    #[arg(short, long)]
    physical: bool,
}

impl Analysis for ReadArgs {
    fn needs(&self) -> &'static [Need] {
        // An address needs no symbols, and what is no address says that it needs them.
        &[]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let (at, source) = self.place(ask.kernel)?;
        if self.text {
            return self.text(ask, at, &source);
        }
        let unit = match self.symbols {
            true => POINTER,
            false => self.unit.parse().unwrap_or(POINTER),
        };
        let count = self
            .count
            .map_or(if self.symbols { 16 } else { 8 }, u64::from);
        let (bytes, gaps) = bytes(&source, at, count.saturating_mul(unit));
        let found = Found {
            at,
            unit,
            bytes: &bytes,
            gaps: &gaps,
        };
        match (ask.json, self.symbols) {
            (true, _) => found.listing(ask.kernel, self.symbols).print(true),
            (false, true) => Ok(say(found.pointers(ask.kernel))?),
            (false, false) => Ok(say(found.numbers())?),
        }
    }
}

impl ReadArgs {
    fn place<'k>(&self, kernel: &'k Kernel) -> Result<(VirtAddr, Source<'k>), Failure> {
        if !self.physical {
            return Ok((address::parse(kernel, &self.at)?, Source::Virtual(kernel)));
        }
        if kernel.dump().is_none() {
            return Err(Failure::new("physical memory is read of dumps alone"));
        }
        let at = address::hexadecimal(&self.at).or_else(|| address::number(&self.at));
        let refuse = || Failure::usage(format!("`{}` is no physical address", self.at));
        Ok((VirtAddr(at.ok_or_else(refuse)?), Source::Physical(kernel)))
    }

    fn text(&self, ask: &Ask<'_>, at: VirtAddr, source: &Source<'_>) -> Result<(), Failure> {
        let most = self.count.map_or(TEXT, u64::from).min(TEXT);
        let found = text_at(source, at, most);
        if ask.json {
            let columns = [
                ("address", Holds::Text),
                ("text", Holds::Text),
                ("missing", Holds::Text),
            ];
            let mut listing = Listing::new("read", &columns);
            let (said, why) = match &found {
                Ok((bytes, cut)) => {
                    let cut = cut.map_or(Value::None, |why| text(why.to_string()));
                    (Value::Str(bytes.clone()), cut)
                }
                Err(gap) => (Value::None, text(gap.why.to_string())),
            };
            listing.push(vec![text(at.to_string()), said, why]);
            return listing.print(true);
        }
        let shown = match found {
            Ok((bytes, cut)) => {
                let cut = cut.map(|why| format!(" {}", missing(why)));
                format!("\"{}\"{}", bytes.escape_ascii(), cut.unwrap_or_default())
            }
            Err(gap) => missing(gap.why).to_owned(),
        };
        Ok(say(format_args!("{:016x}:  {shown}\n", at.0))?)
    }
}

/// Reads a text of at most so many bytes, and why it breaks off where its end is missing.
fn text_at(memory: &dyn Memory, at: VirtAddr, most: u64) -> Result<(Vec<u8>, Option<Gap>), GapAt> {
    let text = memory.read_text(at, most as usize)?;
    let len = text.len() as u64;
    let next = VirtAddr(at.0.wrapping_add(len));
    let cut = match len < most {
        true => memory.read(next, &mut [0]).err(),
        false => None,
    };
    Ok((text, cut.map(|gap| gap.why)))
}

/// Memory by one of its two kinds of addresses.
enum Source<'k> {
    Virtual(&'k Kernel),
    Physical(&'k Kernel),
}

impl Memory for Source<'_> {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        match self {
            Source::Virtual(kernel) => kernel.read(addr, buf),
            Source::Physical(kernel) => {
                let read = kernel.read_phys(PhysAddr(addr.0), buf);
                read.map_err(|gap| GapAt {
                    addr: VirtAddr(gap.addr.0),
                    len: gap.len,
                    why: gap.why,
                })
            }
        }
    }
}

/// Memory that was read.
struct Found<'a> {
    at: VirtAddr,
    unit: u64,
    bytes: &'a [u8],
    gaps: &'a Gaps,
}

impl Found<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Gives a number, or what stands in its place.
    fn number(&self, from: u64) -> Result<u64, &'static str> {
        let range = from..(from + self.unit).min(self.len());
        if let Some(why) = gap_in(self.gaps, range.clone()) {
            return Err(missing(why));
        }
        let bytes = self.bytes.get(range.start as usize..range.end as usize);
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Ok(bytes.unwrap_or_default().iter().rev().fold(0, push))
    }

    fn address(&self, from: u64) -> u64 {
        self.at.0.wrapping_add(from)
    }

    /// Writes lines of numbers with what they are as text.
    fn numbers(&self) -> String {
        let digits = self.unit as usize * 2;
        let mut out = String::new();
        let mut from = 0;
        while from < self.len() {
            let end = (from + LINE).min(self.len());
            let _ = write!(out, "{:016x}: ", self.address(from));
            let mut letters = String::new();
            for at in (from..from + LINE).step_by(self.unit as usize) {
                if at >= end {
                    let _ = write!(out, " {:digits$}", "");
                    continue;
                }
                let _ = match self.number(at) {
                    Ok(number) => write!(out, " {number:0digits$x}"),
                    // The gap's name where there is room for it.
                    Err(name) if digits >= name.len() => write!(out, " {name:>digits$}"),
                    Err(_) => write!(out, " {}", "?".repeat(digits)),
                };
                for byte in at..(at + self.unit).min(end) {
                    let is_gap = gap_in(self.gaps, byte..byte + 1).is_some();
                    let letter = self.bytes.get(byte as usize).copied().unwrap_or(0);
                    letters.push(match letter {
                        _ if is_gap => '?',
                        b' '..=b'~' => letter.into(),
                        _ => '.',
                    });
                }
            }
            let _ = writeln!(out, "   {letters}");
            from = end;
        }
        // Narrow numbers have no room to say why.
        for (range, why) in self.gaps.iter().filter(|_| digits < "<excluded>".len()) {
            let from = self.address(range.start);
            let _ = writeln!(
                out,
                "{from:016x}:  {} bytes are {why}",
                range.end - range.start
            );
        }
        out
    }

    /// Writes pointers with what they lead to.
    fn pointers(&self, kernel: &Kernel) -> String {
        let mut out = String::new();
        for from in (0..self.len()).step_by(POINTER as usize) {
            let _ = write!(out, "{:016x}:  ", self.address(from));
            let _ = match self.number(from) {
                Ok(value) => match value::named(kernel, value) {
                    Some(name) => writeln!(out, "{value:016x} {name}"),
                    None => writeln!(out, "{value:016x}"),
                },
                Err(name) => writeln!(out, "{name}"),
            };
        }
        out
    }

    fn listing(&self, kernel: &Kernel, symbols: bool) -> Listing {
        let mut columns = vec![
            ("address", Holds::Text),
            ("value", Holds::Number),
            ("missing", Holds::Text),
        ];
        if symbols {
            columns.push(("symbol", Holds::Text));
        }
        let mut listing = Listing::new("read", &columns);
        for from in (0..self.len()).step_by(self.unit as usize) {
            let at = text(format!("{:#x}", self.address(from)));
            let mut values = match self.number(from) {
                Ok(value) => vec![at, number(value), Value::None],
                Err(name) => vec![at, Value::None, text(name.trim_matches(['<', '>']))],
            };
            if symbols {
                let name = self.number(from).ok();
                let name = name.and_then(|value| value::named(kernel, value));
                let bare = name.map(|name| name.trim_matches(['<', '>']).to_owned());
                values.push(bare.map_or(Value::None, text));
            }
            listing.push(values);
        }
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Gap, GapAt, Memory, VirtAddr, text_at};

    /// Bytes up to 0x1000, behind which memory is lost.
    struct Before(&'static [u8]);

    impl Memory for Before {
        fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
            let len = buf.len() as u64;
            let from = (addr.0 + self.0.len() as u64).checked_sub(0x1000);
            let bytes = from.and_then(|from| self.0.get(from as usize..)?.get(..buf.len()));
            let why = Gap::Lost;
            buf.copy_from_slice(bytes.ok_or(GapAt { addr, len, why })?);
            Ok(())
        }
    }

    #[test]
    fn texts_say_where_they_break_off() {
        let check = |bytes: &'static [u8], most: u64, text: &[u8], cut: Option<Gap>| {
            let at = VirtAddr(0x1000 - bytes.len() as u64);
            let found = text_at(&Before(bytes), at, most).expect("its first byte is there");
            assert_eq!((&*found.0, found.1), (text, cut));
        };
        check(b"abc\0", 9, b"abc", None);
        check(b"abc", 3, b"abc", None);
        check(b"abc", 9, b"abc", Some(Gap::Lost));
        assert!(text_at(&Before(b""), VirtAddr(0x1000), 9).is_err());
    }

    #[test]
    fn numbers_with_text_and_gaps() {
        let bytes: Vec<u8> = (b'a'..=b'z').collect();
        let check =
            |unit: u64, len: usize, gaps: &[(std::ops::Range<u64>, Gap)], lines: &[&str]| {
                let found = Found {
                    at: VirtAddr(0x1000),
                    unit,
                    bytes: &bytes[..len],
                    gaps: &gaps.to_vec(),
                };
                let text = found.numbers();
                assert_eq!(text.lines().collect::<Vec<_>>(), lines);
            };
        check(
            8,
            24,
            &[(16..24, Gap::Excluded)],
            &[
                "0000000000001000:  6867666564636261 706f6e6d6c6b6a69   abcdefghijklmnop",
                "0000000000001010:        <excluded>                    ????????",
            ],
        );
        check(
            4,
            4,
            &[],
            &["0000000000001000:  64636261                              abcd"],
        );
        check(
            2,
            4,
            &[(2..4, Gap::Lost)],
            &[
                "0000000000001000:  6261 ????                                 ab??",
                "0000000000001002:  2 bytes are lost from the dump",
            ],
        );
    }
}
