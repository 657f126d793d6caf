//! `kscope bpf asm`

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use kscope_script::portable::SECTION;
use kscope_spec::asm::{self, Assembled};
use kscope_spec::elf::{Binding, Elf, SymbolKind};
use kscope_spec::insn::{Callee, Op};
use kscope_spec::{
    ByteOrder, FuncInfo, Insn, ProgramId, ProgramSpec, Reloc, RelocKind, Spec, read, section, write,
};

use super::object::{read_file, read_spec};
use crate::error::Failure;
use crate::output::{self, is_stream};

/// Assemble instructions, as `kscope bpf dump` prints them, into an object file
///
/// One instruction a line, labels end with a colon, comments begin with `;`. A line `; program NAME,
/// section SECTION`, which `kscope bpf dump` prints, begins a program. With --of what is dumped of an
/// object can be changed and put back: maps, types and programs that are not in the text stay.
#[derive(Args, Debug)]
pub(crate) struct AssembleArgs {
    /// Write here, `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write the instructions alone, eight bytes each, of one program
    #[arg(long)]
    raw: bool,
    /// The object whose maps and other programs are meant
    #[arg(long, value_name = "OBJECT", conflicts_with = "raw")]
    of: Option<PathBuf>,
    /// Section of a program that no line names
    #[arg(long, value_name = "SECTION", default_value = "socket")]
    section: String,
    /// Licence of the object
    #[arg(long, value_name = "LICENCE", default_value = "GPL")]
    license: String,
    /// The text, `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command.
pub(super) fn run(args: &AssembleArgs) -> Result<u8, Failure> {
    let text = read_text(&args.file)?;
    let (spec, of) = match &args.of {
        Some(object) => {
            let bytes = read_file(object)?;
            (read_spec(object, &bytes)?, bytes)
        }
        None => {
            let spec = Spec {
                license: args.license.clone(),
                byte_order: ByteOrder::HOST,
                ..Spec::default()
            };
            (spec, Vec::new())
        }
    };
    let shown = args.file.display();
    let mut done = Vec::new();
    for piece in pieces(&text) {
        let assembled = asm::assemble(&piece.text, &spec).map_err(|mut error| {
            error.line = error.line.saturating_add(piece.before);
            let failure = Failure::new(format!("{shown}: {error}"));
            match (&error.kind, &args.of) {
                (asm::AsmErrorKind::Unknown(_), None) => {
                    failure.hint("maps are those of an object: give it with --of OBJECT")
                }
                _ => failure,
            }
        })?;
        if !assembled.insns.is_empty() {
            done.push((piece, assembled));
        }
    }
    if done.is_empty() {
        return Err(Failure::new(format!("{shown} has no instructions")));
    }
    let bytes = if args.raw {
        let [(_, one)] = done.as_slice() else {
            let message = format!("{shown} has {} programs, and --raw is for one", done.len());
            return Err(Failure::usage(message));
        };
        if let Some(reloc) = one.relocs.first() {
            return Err(Failure::usage(format!(
                "instruction {} is filled in by a loader, which takes an object: leave --raw out",
                reloc.insn
            )));
        }
        encoded(&one.insns)
    } else {
        object(spec, done, &of, args)?
    };
    let inputs = std::iter::once(&args.file).chain(&args.of);
    let inputs: Vec<&Path> = inputs.map(PathBuf::as_path).collect();
    output::write(&args.output, &bytes, &inputs)?;
    Ok(0)
}

/// Makes an object of a spec with other programs; `of` has the bytes of the one that is changed.
fn object(
    mut spec: Spec,
    done: Vec<(Piece, Assembled)>,
    of: &[u8],
    args: &AssembleArgs,
) -> Result<Vec<u8>, Failure> {
    let shown = args.file.display();
    for (piece, assembled) in done {
        put(&mut spec, &piece, assembled, &args.section)
            .map_err(|why| Failure::new(format!("{shown}: {why}")))?;
    }
    let failed = |why: String| Failure::new(format!("cannot make an object of {shown}: {why}"));
    // What a script's object says of itself stays.
    let before = Elf::parse(of).ok();
    let plan = before.as_ref().and_then(|elf| elf.named(SECTION));
    let note = plan.map(|(_, section)| write::Note {
        name: SECTION,
        bytes: section.data,
    });
    let notes: Vec<write::Note<'_>> = note.into_iter().collect();
    let bytes = write::object(&spec, &notes).map_err(|error| failed(error.to_string()))?;
    // Nobody is given what cannot be read again.
    read::object(&bytes).map_err(|error| failed(error.to_string()))?;
    let lost = before
        .zip(Elf::parse(&bytes).ok())
        .and_then(|(before, after)| {
            let left = shared(&after);
            shared(&before)
                .find(|name| !left.clone().any(|one| one == *name))
                .map(str::to_owned)
        });
    match lost {
        Some(name) => {
            let why = format!("function {name}, which no program here calls, would be lost");
            Err(failed(why).hint("make one object of all that use it first: kscope link"))
        }
        None => Ok(bytes),
    }
}

/// Gives the functions that an object has for others.
fn shared<'a>(elf: &'a Elf<'a>) -> impl Iterator<Item = &'a str> + Clone {
    let symbols = elf.symbols.iter().filter(|symbol| {
        symbol.kind == SymbolKind::Function
            && !symbol.is_extern()
            && symbol.binding != Binding::Local
    });
    symbols.map(|symbol| symbol.name)
}

/// Largest text in bytes.
const LARGEST: u64 = 64 << 20;

fn read_text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let most = LARGEST + 1;
    let read = match is_stream(file) {
        true => std::io::stdin().take(most).read_to_string(&mut text),
        false => {
            std::fs::File::open(file).and_then(|file| file.take(most).read_to_string(&mut text))
        }
    };
    let len = read.map_err(|error| match error.kind() {
        ErrorKind::InvalidData => Failure::new(format!("{} is no text", file.display()))
            .hint("`kscope bpf dump OBJECT` prints objects as text"),
        _ => Failure::new(format!("cannot read {}: {error}", file.display())),
    })?;
    match len as u64 > LARGEST {
        true => Err(Failure::new(format!(
            "{} is too large: more than {LARGEST} bytes",
            file.display()
        ))),
        false => Ok(text),
    }
}

fn encoded(insns: &[Insn]) -> Vec<u8> {
    let encode = |insn: &Insn| match ByteOrder::HOST {
        ByteOrder::Little => insn.encode_le(),
        ByteOrder::Big => insn.encode_be(),
    };
    insns.iter().flat_map(encode).collect()
}

/// The text of one program.
#[derive(Debug, Default, PartialEq, Eq)]
struct Piece {
    /// Name and section, where a line says them.
    header: Option<(String, String)>,
    /// How many lines of the whole text stand before it.
    before: u32,
    text: String,
}

/// Splits a text where lines name programs.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = vec![Piece::default()];
    for (number, line) in (0..).zip(text.lines()) {
        let named = line.strip_prefix("; program ");
        if let Some((name, section)) = named.and_then(|rest| rest.split_once(", section ")) {
            pieces.push(Piece {
                header: Some((name.trim().to_owned(), section.trim().to_owned())),
                before: number,
                text: String::new(),
            });
        }
        if let Some(piece) = pieces.last_mut() {
            piece.text.push_str(line);
            piece.text.push('\n');
        }
    }
    pieces
}

/// Puts a program into an object, in place of the one of its name.
fn put(spec: &mut Spec, piece: &Piece, done: Assembled, usual: &str) -> Result<(), String> {
    let first = done.labels.iter().find(|(_, slot)| **slot == 0);
    let (name, section) = match &piece.header {
        Some((name, section)) => (name.as_str(), section.as_str()),
        None => (first.map_or("program", |(name, _)| name), usual),
    };
    if let Some(ProgramId(index)) = spec.program_named(name) {
        let known = spec.programs.get_mut(index as usize);
        return known.map_or(Ok(()), |known| change(known, done));
    }
    let found = section::lookup(section).ok_or_else(|| {
        let near = section::nearest(section);
        let near = near.map_or_else(String::new, |near| format!(": did you mean '{near}'?"));
        format!("section '{section}' says no type of program{near}")
    })?;
    spec.programs.push(ProgramSpec {
        name: name.to_owned(),
        kind: found.kind,
        attach: found.attach_kind(section),
        section: section.to_owned(),
        flags: found.flags,
        funcs: functions(name, &done),
        insns: done.insns,
        relocs: done.relocs,
        ..ProgramSpec::default()
    });
    Ok(())
}

/// Gives a program of an object other instructions. What the text does not say stays where it was.
fn change(program: &mut ProgramSpec, done: Assembled) -> Result<(), String> {
    if done.insns.len() != program.insns.len() {
        if !program.core.is_empty() {
            return Err(format!(
                "program {} has {} slots in place of {}: what depends on types of the kernel (CO-RE) \
                 has to stay at its place",
                program.name,
                done.insns.len(),
                program.insns.len()
            ));
        }
        program.lines.clear();
        program.funcs = functions(&program.name, &done);
    }
    program.insns = done.insns;
    program.relocs = done.relocs;
    Ok(())
}

/// Finds the functions of a program: what is called, and whose address is taken.
fn functions(name: &str, done: &Assembled) -> Vec<FuncInfo> {
    let called = (0u32..).zip(&done.insns).filter_map(|(slot, insn)| {
        // Where such a call goes to, its relocation says.
        let is_linked = |reloc: &Reloc| reloc.insn.cmp(&slot);
        if done.relocs.binary_search_by(is_linked).is_ok() {
            return None;
        }
        let Ok(Op::Call(Callee::Local(off))) = insn.op() else {
            return None;
        };
        u32::try_from(i64::from(slot) + 1 + i64::from(off)).ok()
    });
    let taken = done.relocs.iter().filter_map(|reloc| match reloc.kind {
        RelocKind::Func(to) => Some(to),
        _ => None,
    });
    let label = |slot: u32| {
        let mut labels = done.labels.iter();
        let found = labels.find(|(_, at)| **at == slot);
        found.map_or_else(|| format!("f{slot}"), |(label, _)| label.clone())
    };
    let mut functions: BTreeMap<u32, String> = called
        .chain(taken)
        .map(|slot| (slot, label(slot)))
        .collect();
    functions.insert(0, name.to_owned());
    let info = |(insn, name)| FuncInfo {
        insn,
        name,
        type_id: 0,
    };
    functions.into_iter().map(info).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_programs() {
        let text = "r0 = 0\nexit\n; program p, section xdp\np:\nr0 = 1\nexit\n";
        let found = pieces(text);
        let headers: Vec<_> = found.iter().map(|piece| piece.header.as_ref()).collect();
        let named = ("p".to_owned(), "xdp".to_owned());
        assert_eq!(headers, [None, Some(&named)]);
        // Errors name the lines of the whole text.
        let error = asm::insns(&found[1].text.replace("r0 = 1", "r0 = ?"));
        assert_eq!(error.expect_err("wrong").line + found[1].before, 5);
    }

    #[test]
    fn functions_are_what_is_called() {
        let done = asm::assemble(
            "p: call two\ncall 1\nexit\ntwo: r0 = 0\nexit",
            &Spec::default(),
        );
        let functions = functions("p", &done.expect("fine"));
        let found: Vec<_> = functions
            .iter()
            .map(|f| (f.insn, f.name.as_str()))
            .collect();
        assert_eq!(found, [(0, "p"), (3, "two")]);
    }

    #[test]
    fn what_text_does_not_say_stays_at_its_place() {
        use kscope_spec::{CoreKind, CoreReloc};
        let assembled = |text: &str| asm::assemble(text, &Spec::default()).expect("fine");
        let mut program = ProgramSpec {
            name: "p".to_owned(),
            insns: assembled("r0 = 1\nexit").insns,
            core: vec![CoreReloc {
                insn: 0,
                kind: CoreKind::FieldExists,
                type_id: 1,
                access: vec![0],
            }],
            ..ProgramSpec::default()
        };
        assert_eq!(change(&mut program, assembled("r0 = 2\nexit")), Ok(()));
        assert_eq!((program.insns[0].imm, program.core.len()), (2, 1));
        let error = change(&mut program, assembled("r0 = 2\nr1 = 0\nexit"));
        assert!(error.expect_err("longer").contains("3 slots in place of 2"));
        program.core.clear();
        assert_eq!(change(&mut program, assembled("exit")), Ok(()));
        assert_eq!(program.insns.len(), 1);
    }
}
