//! Programs that are loaded, and their code with names.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use kscope_btf::{Btf, Type, TypeId};
use kscope_spec::insn::{Callee, Op, Pseudo, Special};
use kscope_spec::{
    FuncInfo, Insn, LineInfo, ProgramSpec, ProgramType, SourceFile, SourceText, Spec, disasm,
};
use kscope_sys::{ProgramImage, SharedKernel};

use super::{LoadedTypes, ids, not_opened, text};
use crate::error::Error;

/// A program that somebody loaded.
#[derive(Clone, Debug)]
pub struct LoadedProgram {
    /// What the kernel tells of it.
    pub image: ProgramImage,
    /// Its types, where it was loaded with any.
    pub types: Option<Btf>,
}

/// Gives names to the numbers in verified code; what has none stays a number.
pub struct Naming<'a> {
    /// The kernel's `__bpf_call_base`, which the calls of helpers are relative to.
    pub call_base: Option<u64>,
    /// Names the function at an address.
    pub function: &'a dyn Fn(u64) -> Option<String>,
    /// Names a map by its id.
    pub map: &'a dyn Fn(u32) -> Option<String>,
    /// The kernel's types, for the names of kernel functions.
    pub kernel_types: Option<&'a Btf>,
}

impl std::fmt::Debug for Naming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Naming")
            .field("call_base", &self.call_base)
            .finish_non_exhaustive()
    }
}

impl LoadedProgram {
    /// Lists the ids of all programs of the kernel, ascending.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`].
    pub fn ids(kernel: &SharedKernel) -> Result<Vec<u32>, Error> {
        ids(kernel, "BPF_PROG_GET_NEXT_ID", |kernel, after| {
            kernel.program_next_id(after)
        })
    }

    /// Reads the program with this id, with its code, tables and types.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Permission`].
    pub fn by_id(kernel: &SharedKernel, id: u32) -> Result<LoadedProgram, Error> {
        let failed = |errno| not_opened(kernel, "program", "BPF_PROG_GET_FD_BY_ID", id, errno);
        let fd = kernel.program_by_id(id).map_err(failed)?;
        let image = kernel
            .program_image(fd.as_fd())
            .map_err(|errno| Error::os("BPF_OBJ_GET_INFO_BY_FD", errno, format!("program {id}")))?;
        let types = match image.info.btf_id {
            0 => None,
            // Without its types a program is shown all the same.
            id => LoadedTypes::by_id(kernel, id)
                .and_then(|types| types.read(kernel, None))
                .ok(),
        };
        Ok(LoadedProgram { image, types })
    }

    /// Gives the id.
    pub fn id(&self) -> u32 {
        self.image.info.id
    }

    /// Gives the type; none for one that came after this release.
    pub fn kind(&self) -> Option<ProgramType> {
        ProgramType::from_number(self.image.info.kind)
    }

    /// Gives the whole name: the kernel keeps 15 bytes of it, the types all.
    pub fn name(&self) -> String {
        let short = text(&self.image.info.name);
        match self.functions().next() {
            Some((_, name, _)) if name.starts_with(&short) => name,
            _ => short,
        }
    }

    /// Gives the tag in hexadecimal, as the kernel writes it.
    pub fn tag(&self) -> String {
        self.image.tag.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Gives the functions: verified instruction, name, type.
    pub fn functions(&self) -> impl Iterator<Item = (u32, String, u32)> {
        self.image.functions.iter().map(|&(insn, type_id)| {
            let name = self
                .types
                .as_ref()
                .and_then(|types| types.name(TypeId(type_id)));
            let name = name.filter(|name| !name.is_empty()).unwrap_or("unnamed");
            (insn, name.to_owned(), type_id)
        })
    }

    /// Gives the verified instructions.
    pub fn insns(&self) -> Vec<Insn> {
        let slots = self.image.translated.chunks_exact(8);
        slots
            .filter_map(|slot| Some(Insn::decode(slot.try_into().ok()?)))
            .collect()
    }

    /// Gives file, line, column and text of a record of source lines.
    pub fn line(&self, index: usize) -> Option<(&str, u32, u32, &str)> {
        let record = self.image.lines.get(index)?;
        let types = self.types.as_ref()?;
        Some((
            types.string(record.file)?,
            record.place >> 10,
            record.place & 0x3ff,
            types.string(record.text).unwrap_or_default(),
        ))
    }

    /// Gives the verified code as the one program of a spec, with its functions and source lines.
    pub fn to_spec(&self) -> Spec {
        let mut files: Vec<(&str, BTreeMap<u32, String>)> = Vec::new();
        let mut lines = Vec::with_capacity(self.image.lines.len());
        for (index, record) in self.image.lines.iter().enumerate() {
            let Some((name, line, column, text)) = self.line(index) else {
                continue;
            };
            // Programs have few files, and the next line is mostly of the same.
            let file = files.iter().rposition(|(known, _)| *known == name);
            let file = file.unwrap_or_else(|| {
                files.push((name, BTreeMap::new()));
                files.len() - 1
            });
            if let Some((_, texts)) = files.get_mut(file) {
                texts.insert(line, text.to_owned());
            }
            lines.push(LineInfo {
                insn: record.insn,
                file: u32::try_from(file).unwrap_or(u32::MAX),
                line,
                column,
            });
        }
        let funcs = self.functions().map(|(insn, name, type_id)| FuncInfo {
            insn,
            name,
            type_id,
        });
        let program = ProgramSpec {
            name: self.name(),
            kind: self.kind().unwrap_or_default(),
            insns: self.insns(),
            lines,
            funcs: funcs.collect(),
            ..ProgramSpec::default()
        };
        let files = files.into_iter().map(|(name, lines)| SourceFile {
            name: name.to_owned(),
            text: SourceText::Lines(lines),
        });
        let types = self.types.as_ref();
        Spec {
            programs: vec![program],
            files: files.collect(),
            types: types.map_or_else(Vec::new, |types| types.bytes().to_vec()),
            ..Spec::default()
        }
    }

    /// Prints the verified code with names, types and source lines; the assembler reads it back to
    /// the same instructions.
    pub fn disassemble(&self, options: disasm::Options, naming: &Naming<'_>) -> String {
        let spec = self.to_spec();
        let Some(program) = spec.programs.first() else {
            return String::new();
        };
        // The names of helpers are not to be had from their numbers, which are addresses here.
        let options = disasm::Options {
            helper_names: false,
            ..options
        };
        disasm::program_with_notes(&spec, program, options, &|slot| {
            let insn = program.insns.get(usize::try_from(slot).ok()?)?;
            self.note(slot, *insn, &program.funcs, naming)
        })
    }

    /// Names what an instruction refers to.
    fn note(
        &self,
        slot: u32,
        insn: Insn,
        funcs: &[FuncInfo],
        naming: &Naming<'_>,
    ) -> Option<String> {
        let at = |distance: i64| {
            let to = i64::from(slot) + 1 + distance;
            let found = funcs.iter().find(|func| i64::from(func.insn) == to)?;
            Some(found.name.clone())
        };
        let helper = |distance: i32| {
            let address = naming.call_base?.checked_add_signed(distance.into())?;
            // Where addresses are hidden, all distances are 0.
            if distance == 0 {
                return None;
            }
            (naming.function)(address)
        };
        if let Ok(op) = insn.op() {
            return match op {
                Op::Call(Callee::Helper(id)) => helper(id.0 as i32),
                Op::Call(Callee::Local(distance)) => at(distance.into()),
                Op::Call(Callee::Kfunc { btf_id, .. }) => {
                    let id = TypeId(btf_id as u32);
                    match naming.kernel_types?.get(id)? {
                        Type::Func { name, .. } => Some(name.to_owned()),
                        _ => None,
                    }
                }
                Op::LoadImm64 {
                    kind: Pseudo::MapFd | Pseudo::MapValue,
                    low,
                    ..
                } => {
                    let name = (naming.map)(low as u32)?;
                    Some(format!("map {name}"))
                }
                Op::LoadImm64 {
                    kind: Pseudo::Func,
                    low,
                    ..
                } => at(low.into()),
                _ => None,
            };
        }
        match insn.special()? {
            Special::CallBelow { distance } => helper(distance),
            Special::CallSubprogram { off, .. } => at(off.into()),
            _ => None,
        }
    }
}
