//! `kscope crash VMCORE dis`

use std::collections::HashMap;
use std::fmt::Write as _;

use clap::Args;
use kscope_dump::Kernel;
use kscope_memory::{KernelSymbol, VirtAddr};
use kscope_rows::Value;

#[cfg(not(all(feature = "jited", target_arch = "x86_64")))]
use super::code_none as code;
#[cfg(all(feature = "jited", target_arch = "x86_64"))]
use super::code_x86 as code;
use super::shown::missing;
use super::sym::size;
use super::value::{bytes, named, text_at};
use super::{address, address::per_cpu};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::console::{say, tell};
use crate::crash::analysis::{Analysis, Ask, Need};
use crate::crash::{in_symbol, on_cpus};
use crate::error::Failure;

/// Instructions that are printed from an address on that is in no function.
const SOME: u32 = 16;
/// Most bytes of a function that are looked at.
const MOST: u64 = 1 << 18;

/// Disassemble a function
///
/// Calls, branches and memory are named by their symbols. `=>` stands where a CPU was when the kernel
/// stopped or was interrupted, `->` where a call had not come back.
#[derive(Args, Debug)]
pub(in crate::crash) struct DisArgs {
    /// A function, or an address in one
    #[arg(value_name = "FUNCTION|ADDRESS")]
    what: String,
    /// Print so many instructions from there on
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    count: Option<u32>,
}

/// An instruction.
pub(super) struct Insn {
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) text: String,
    /// The address that is in it.
    pub(super) leads: Option<u64>,
    /// Whether that is of what each CPU has its own.
    pub(super) of_cpu: bool,
}

/// What is disassembled.
struct Wanted {
    start: VirtAddr,
    len: u64,
    /// The function and where it begins.
    function: Option<(String, VirtAddr)>,
    /// Instructions at most.
    most: usize,
}

impl Analysis for DisArgs {
    fn needs(&self) -> &'static [Need] {
        &[]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let wanted = self.wanted(ask.kernel)?;
        let (bytes, gaps) = bytes(ask.kernel, wanted.start, wanted.len);
        // What is behind a gap may begin in the middle of an instruction.
        let end = gaps
            .first()
            .map_or(bytes.len(), |(gap, _)| gap.start as usize);
        let mut insns = code::decode(bytes.get(..end).unwrap_or_default(), wanted.start.0)?;
        let cut = insns.len() > wanted.most;
        insns.truncate(wanted.most);
        let gap = gaps.first().filter(|_| !cut);
        let marks = Marks::of(ask.kernel);
        match ask.json {
            true => listing(ask.kernel, &wanted, &insns, &marks).print(true)?,
            false => {
                let mut out = written(ask.kernel, &wanted, &insns, &marks);
                if let Some((range, why)) = gap {
                    let from = wanted.start.0.wrapping_add(range.start);
                    let _ = writeln!(out, "   {from:016x}  {}", missing(*why));
                }
                say(out)?;
            }
        }
        if let Some((range, why)) = gap {
            let from = VirtAddr(wanted.start.0.wrapping_add(range.start));
            tell(format_args!(
                "WARNING: the code is not whole: memory at {from} is {why}"
            ));
        }
        Ok(())
    }
}

impl DisArgs {
    fn wanted(&self, kernel: &Kernel) -> Result<Wanted, Failure> {
        let named = match self.what.contains(['+', '-', '@']) {
            true => Vec::new(),
            false => address::symbols(kernel, &self.what).unwrap_or_default(),
        };
        let code: Vec<&KernelSymbol<'_>> = named.iter().filter(|s| s.is_code()).collect();
        if let Some(function) = code.first() {
            if code.len() > 1 {
                tell(format_args!(
                    "NOTE: {} functions are called {}: this is the first; `sym {}` has the addresses of all",
                    code.len(),
                    self.what,
                    self.what
                ));
            }
            return Ok(self.from(kernel, function, function.address));
        }
        let at = address::parse(kernel, &self.what)?;
        match kernel.symbolize(at) {
            Some(found) => Ok(self.from(kernel, &found.symbol, at)),
            None => {
                let count = self.count.unwrap_or(SOME);
                Ok(Wanted {
                    start: at,
                    len: u64::from(count) * code::LONGEST,
                    function: None,
                    most: count as usize,
                })
            }
        }
    }

    /// Takes a whole function, or some instructions from an address in it on.
    fn from(&self, kernel: &Kernel, symbol: &KernelSymbol<'_>, at: VirtAddr) -> Wanted {
        let function = Some((in_symbol(symbol, None), symbol.address));
        match self.count {
            Some(count) => Wanted {
                start: at,
                len: u64::from(count) * code::LONGEST,
                function,
                most: count as usize,
            },
            None => Wanted {
                start: symbol.address,
                len: size(kernel, symbol).unwrap_or(MOST).min(MOST),
                function,
                most: usize::MAX,
            },
        }
    }
}

/// Where CPUs were.
struct Marks {
    /// Instructions at which they were.
    at: HashMap<u64, u32>,
    /// Addresses inside of calls that had not come back.
    calls: HashMap<u64, u32>,
}

impl Marks {
    fn of(kernel: &Kernel) -> Marks {
        let mut marks = Marks {
            at: HashMap::new(),
            calls: HashMap::new(),
        };
        let unwinder = kernel.unwinder().ok();
        for on in on_cpus(kernel) {
            let Some(registers) = on.registers else {
                continue;
            };
            marks.at.insert(registers.rip, on.cpu);
            let stack = unwinder
                .as_ref()
                .map(|unwinder| unwinder.running(&registers));
            for frame in stack.iter().flat_map(|stack| &stack.frames) {
                let of = match frame.interrupted {
                    true => &mut marks.at,
                    false => &mut marks.calls,
                };
                of.insert(frame.code().0, on.cpu);
            }
        }
        marks
    }

    /// Gives what stands before an instruction, and the CPU that was there.
    fn of_insn(&self, insn: &Insn) -> Option<(&'static str, u32)> {
        if let Some(cpu) = self.at.get(&insn.address) {
            return Some(("=>", *cpu));
        }
        let mut inside = (0..insn.bytes.len() as u64).map(|at| insn.address.wrapping_add(at));
        let cpu = inside.find_map(|at| self.calls.get(&at))?;
        Some(("->", *cpu))
    }
}

/// Names what an instruction leads to.
fn name(kernel: &Kernel, insn: &Insn) -> Option<String> {
    let to = insn.leads?;
    if !insn.of_cpu {
        return named(kernel, to).or_else(|| text_at(kernel, VirtAddr(to)));
    }
    // Before 6.15 their addresses are counted from 0, which are those of no other symbols.
    let range = per_cpu(kernel)?;
    let all = kernel.symbols().ok()?;
    let before = all.iter().take_while(|symbol| symbol.address.0 <= to);
    let own = before.filter(|symbol| range.contains(&symbol.address));
    let nearest = own.last()?;
    let offset = to - nearest.address.0;
    let offset = (offset > 0).then_some(offset);
    Some(format!("<{}>", in_symbol(&nearest, offset)))
}

fn offset(wanted: &Wanted, insn: &Insn) -> Option<u64> {
    let (_, start) = wanted.function.as_ref()?;
    insn.address.checked_sub(start.0)
}

fn written(kernel: &Kernel, wanted: &Wanted, insns: &[Insn], marks: &Marks) -> String {
    let mut out = String::new();
    if let Some((name, _)) = &wanted.function {
        let _ = writeln!(out, "{name}:");
    }
    let end = wanted.start.0.wrapping_add(wanted.len);
    for insn in insns {
        let mark = marks.of_insn(insn);
        let at = offset(wanted, insn).map(|offset| format!("+{offset:#x}"));
        let _ = write!(
            out,
            "{:2} {:016x}  {:<7} {}",
            mark.map_or("", |(mark, _)| mark),
            insn.address,
            at.unwrap_or_default(),
            insn.text
        );
        let function = wanted.function.as_ref();
        let inside = insn
            .leads
            .filter(|to| (wanted.start.0..end).contains(to) && !insn.of_cpu);
        match (inside, function) {
            (Some(to), Some((_, start))) => {
                let _ = write!(out, "  ; +{:#x}", to.wrapping_sub(start.0));
            }
            _ => {
                if let Some(name) = name(kernel, insn) {
                    let _ = write!(out, "  ; {name}");
                }
            }
        }
        if let Some((_, cpu)) = mark {
            let _ = write!(out, "  ; CPU {cpu} was here");
        }
        out.push('\n');
    }
    out
}

fn listing(kernel: &Kernel, wanted: &Wanted, insns: &[Insn], marks: &Marks) -> Listing {
    let columns = [
        ("address", Holds::Text),
        ("function", Holds::Text),
        ("offset", Holds::Number),
        ("bytes", Holds::Text),
        ("code", Holds::Text),
        ("leads_to", Holds::Text),
        ("cpu", Holds::Number),
        ("at", Holds::Text),
    ];
    let mut listing = Listing::new("dis", &columns);
    let function = wanted.function.as_ref().map(|(name, _)| name.clone());
    for insn in insns {
        let bytes: Vec<String> = insn.bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mark = marks.of_insn(insn);
        let name = name(kernel, insn);
        let name = name.map(|name| name.trim_matches(['<', '>']).to_owned());
        let state = mark.map(|(mark, _)| if mark == "=>" { "instruction" } else { "call" });
        listing.push(vec![
            text(format!("{:#x}", insn.address)),
            function.clone().map_or(Value::None, text),
            offset(wanted, insn).map_or(Value::None, number),
            text(bytes.join("")),
            text(insn.text.clone()),
            name.map_or(Value::None, text),
            mark.map_or(Value::None, |(_, cpu)| number(cpu)),
            state.map_or(Value::None, text),
        ]);
    }
    listing
}
