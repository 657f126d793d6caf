//! Places of kernel memory as they are written: in hexadecimal, as `SYMBOL`, `SYMBOL+0x10`,
//! `MODULE:SYMBOL`, a CPU's own as `SYMBOL@CPU`, a task as `pid:PID`; members of those whose type is
//! known as `init_task.tasks`; where a pointer leads to as `*init_net.loopback_dev`.

use std::ops::Range;

use kscope_btf::nearest;
use kscope_dump::Kernel;
use kscope_memory::{KernelSymbol, Memory as _, Object, VirtAddr};

use super::super::{failed, plain};
use super::types::{Path, not_followed};
use crate::error::Failure;

/// Fewest digits of an address without `0x` in front.
const DIGITS: usize = 8;
/// Most pointers that are followed from a place.
const STARS: usize = 8;
/// Most names that are said to be near.
const NEAR: usize = 3;

/// Finds the address that a word stands for.
///
/// # Errors
///
/// Where there is no such symbol, CPU or task.
pub(in crate::crash) fn parse(kernel: &Kernel, word: &str) -> Result<VirtAddr, Failure> {
    let place = word.trim_start_matches('*');
    let stars = word.len() - place.len();
    if stars > STARS {
        return Err(Failure::usage(format!(
            "no more than {STARS} pointers are followed"
        )));
    }
    let mut at = place_of(kernel, place)?;
    for _ in 0..stars {
        let to = kernel.read_u64(at).map(VirtAddr);
        at = to.map_err(|gap| failed(&format!("cannot follow {word}"), &gap.into()))?;
    }
    Ok(at)
}

fn place_of(kernel: &Kernel, word: &str) -> Result<VirtAddr, Failure> {
    let (base, offset) = split(word)?;
    let start = match base.split_once('.') {
        // Names of symbols may have points as well.
        Some((of, way)) if symbols(kernel, base).is_ok_and(|found| found.is_empty()) => {
            member(kernel, of, way)?
        }
        _ => whole(kernel, base)?,
    };
    Ok(VirtAddr(start.0.wrapping_add(offset)))
}

fn whole(kernel: &Kernel, word: &str) -> Result<VirtAddr, Failure> {
    match word.split_once('@') {
        Some((name, cpu)) => of_cpu(kernel, name, cpu),
        None => plainly(kernel, word),
    }
}

/// Finds a member of a variable whose type is known, or of a task.
fn member(kernel: &Kernel, of: &str, way: &str) -> Result<VirtAddr, Failure> {
    let at = whole(kernel, of)?;
    let name = of.split('@').next().unwrap_or_default();
    let object = match of.starts_with("pid:") {
        true => kernel.object("task_struct", at),
        false => {
            let known = kernel.variable(name);
            known.and_then(|known| Ok(Object::new(kernel, kernel.btf()?, known.type_id(), at)))
        }
    };
    let object = object.map_err(|_| {
        let failure = Failure::new(format!("of what type {name} is is not known"));
        failure.hint(format!(
            "`{name}+OFFSET` is a place in it; `struct TYPE.MEMBER` says the offset"
        ))
    })?;
    let btf = kernel.btf();
    let btf = btf.map_err(|error| failed("there are no types", &error))?;
    let path = Path::parse(way)?;
    let found = path.follow(btf, object);
    let found = found.map_err(|error| not_followed(&path, error))?;
    Ok(found.addr())
}

/// Reads a number: in hexadecimal behind `0x`, else in decimal.
pub(in crate::crash) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    }
}

/// Reads an address: hexadecimal digits, with `0x` in front or enough of them.
pub(in crate::crash) fn hexadecimal(text: &str) -> Option<u64> {
    if text.starts_with("0x") || text.starts_with("0X") {
        return number(text);
    }
    let all = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    (all && text.len() >= DIGITS).then(|| u64::from_str_radix(text, 16).ok())?
}

/// Takes what is added to a place, or taken off, from its end.
fn split(word: &str) -> Result<(&str, u64), Failure> {
    let mut base = word;
    let mut offset = 0u64;
    while let Some(at) = base.rfind(['+', '-']).filter(|at| *at > 0) {
        let text = &base[at + 1..];
        let value = number(text).ok_or_else(|| {
            let message = format!("`{text}` in {word} is no number");
            Failure::usage(message).hint("an offset is decimal, or hexadecimal behind 0x")
        })?;
        offset = match base.as_bytes()[at] {
            b'+' => offset.wrapping_add(value),
            _ => offset.wrapping_sub(value),
        };
        base = &base[..at];
    }
    Ok((base, offset))
}

fn plainly(kernel: &Kernel, word: &str) -> Result<VirtAddr, Failure> {
    if word.starts_with("0x") {
        let found = number(word).map(VirtAddr);
        return found.ok_or_else(|| Failure::usage(format!("`{word}` is no address")));
    }
    if let Some(pid) = word.strip_prefix("pid:") {
        return task(kernel, pid);
    }
    match symbol(kernel, word) {
        Ok(found) if is_per_cpu(kernel, found.address) => {
            let failure = Failure::new(format!("each CPU has its own {word}"));
            Err(failure.hint(format!("`{word}@0` is that of CPU 0")))
        }
        Ok(found) => Ok(found.address),
        Err(failure) => hexadecimal(word).map(VirtAddr).ok_or(failure),
    }
}

fn of_cpu(kernel: &Kernel, name: &str, cpu: &str) -> Result<VirtAddr, Failure> {
    let symbol = symbol(kernel, name)?;
    let known = kernel.cpus("__cpu_possible_mask");
    let known = known.map_err(|error| failed("cannot tell which CPUs there are", &error))?;
    let number = cpu.parse().ok().filter(|cpu| known.contains(cpu));
    let Some(number) = number else {
        let last = known.last().copied().unwrap_or(0);
        let failure = Failure::new(format!("there is no CPU `{cpu}`"));
        return Err(failure.hint(format!("CPUs are 0 to {last}")));
    };
    if !is_per_cpu(kernel, symbol.address) {
        let failure = Failure::new(format!("CPUs have no {name} of their own"));
        return Err(failure.hint(format!("`{name}` alone is the one that there is")));
    }
    let found = kernel.per_cpu(symbol.address, number);
    found.map_err(|error| failed(&format!("cannot find {name}@{cpu}"), &error))
}

fn task(kernel: &Kernel, pid: &str) -> Result<VirtAddr, Failure> {
    let tasks = kernel.tasks();
    let tasks = tasks.map_err(|error| failed("there are no tasks", &error))?;
    let found = pid.parse().ok().and_then(|pid: i32| {
        let mut tasks = tasks.items.iter();
        tasks.find(|task| task.pid == pid)
    });
    let missing = || Failure::new(format!("there is no task `{pid}` in the dump"));
    found.map(|task| task.addr).ok_or_else(missing)
}

/// Tells whether an address is that of a variable of which each CPU has its own.
pub(in crate::crash) fn is_per_cpu(kernel: &Kernel, addr: VirtAddr) -> bool {
    per_cpu(kernel).is_some_and(|range| range.contains(&addr))
}

/// Gives where the variables are of which each CPU has its own; before Linux 6.15 they are counted from 0.
pub(super) fn per_cpu(kernel: &Kernel) -> Option<Range<VirtAddr>> {
    let start = kernel.global("__per_cpu_start")?;
    Some(start..kernel.global("__per_cpu_end")?)
}

/// Gives every symbol of a name, or `MODULE:NAME`, those of the image first.
pub(super) fn symbols<'k>(
    kernel: &'k Kernel,
    word: &'k str,
) -> Result<Vec<KernelSymbol<'k>>, Failure> {
    let image = kernel.symbols();
    let image = image.map_err(|error| failed(&format!("cannot look up `{word}`"), &error))?;
    let modules = kernel.module_symbols();
    if let Some((module, name)) = word.split_once(':') {
        let own = modules.find(name);
        return Ok(own.filter(|s| s.module == Some(module)).collect());
    }
    Ok(image.find(word).chain(modules.find(word)).collect())
}

/// Gives the symbol of a name; of several the first.
fn symbol<'k>(kernel: &'k Kernel, word: &'k str) -> Result<KernelSymbol<'k>, Failure> {
    let found = symbols(kernel, word)?;
    found.first().copied().ok_or_else(|| unknown(kernel, word))
}

/// Makes the failure for a name that no symbol has.
pub(super) fn unknown(kernel: &Kernel, word: &str) -> Failure {
    let failure = Failure::new(format!("there is no symbol `{word}` in the dump"));
    if word.starts_with(|first: char| first.is_ascii_digit()) {
        return failure.hint("an address has `0x` in front, or at least 8 digits");
    }
    let Ok(image) = kernel.symbols() else {
        return failure;
    };
    let all = image.iter().chain(kernel.module_symbols().iter());
    let near = nearest(word, all.map(|symbol| symbol.name), NEAR);
    did_you_mean(failure, &near)
}

/// Adds the names that are near.
pub(super) fn did_you_mean(failure: Failure, near: &[&str]) -> Failure {
    match near {
        [] => failure,
        near => failure.hint(format!("did you mean `{}`?", plain(&near.join("`, `")))),
    }
}

#[cfg(test)]
mod tests {
    use super::{hexadecimal, number, split};

    #[test]
    fn numbers() {
        let check = |text, expected| assert_eq!(number(text), expected, "{text}");
        check("10", Some(10));
        check("0x10", Some(16));
        check("0x", None);
        check("+1", None);
        check("0x+1", None);
        check("ten", None);
    }

    #[test]
    fn addresses_without_a_prefix_have_many_digits() {
        let check = |text, expected| assert_eq!(hexadecimal(text), expected, "{text}");
        check("ffffffff81000000", Some(0xffff_ffff_8100_0000));
        check("0xff", Some(255));
        check("deadbeef", Some(0xdead_beef));
        check("add", None);
        check("ffffffff810000000", None);
        check("init_task", None);
    }

    #[test]
    fn offsets_are_taken_off_the_end() {
        let check = |word, expected| assert_eq!(split(word).ok(), expected, "{word}");
        check("jiffies", Some(("jiffies", 0)));
        check("jiffies+0x10", Some(("jiffies", 16)));
        check("jiffies+8-0x10", Some(("jiffies", 8u64.wrapping_sub(16))));
        check("runqueues@1+8", Some(("runqueues@1", 8)));
        check("a+b", None);
    }
}
