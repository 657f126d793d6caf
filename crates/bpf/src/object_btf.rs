//! The BTF of an object: its types, its programs' functions, and where each instruction came from.

mod fit;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kscope_btf::write::{Builder, FuncInfo, LineInfo};
use kscope_btf::{Btf, Encoding, Endian, Linkage, TypeId};
use kscope_spec::{ProgramSpec, SourceText, Spec};
use kscope_sys::{BtfLoad, Errno, Kernel};

use crate::error::Error;
#[cfg(feature = "token")]
use crate::token::{Wanted, missing};
pub(crate) use fit::Takes;

/// One blob for a whole object, and for each program the records that point into it.
#[derive(Debug)]
pub(crate) struct ObjectBtf {
    blob: Vec<u8>,
    records: Vec<Records>,
}

/// Records of one program as the kernel reads them.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) functions: Vec<u8>,
    pub(crate) lines: Vec<u8>,
}

impl ObjectBtf {
    /// Builds the blob: the object's own types (`local`) if it has any, fit for a kernel that
    /// takes what `takes` says, and the functions of programs that have no type there. The
    /// verifier quotes source lines from it, and needs the functions of programs with callbacks.
    pub(crate) fn build(spec: &Spec, local: Option<&Btf>, takes: &Takes) -> ObjectBtf {
        let host = if cfg!(target_endian = "big") {
            Endian::Big
        } else {
            Endian::Little
        };
        let (mut builder, kept) = match local {
            Some(local) => fit::fit(local, spec, takes),
            None => (Builder::with_endian(host), Vec::new()),
        };
        let mut proto = None;
        let mut files: Vec<File<'_>> = Vec::with_capacity(spec.files.len());
        for file in &spec.files {
            files.push(File {
                name: builder.add_string(&file.name),
                text: &file.text,
                starts: line_starts(&file.text),
            });
        }
        let mut records = Vec::new();
        for program in &spec.programs {
            let mut functions = Vec::new();
            let main = [kscope_spec::FuncInfo {
                insn: 0,
                name: program.name.clone(),
                ..kscope_spec::FuncInfo::default()
            }];
            let given = if program.funcs.is_empty() {
                &main[..]
            } else {
                &program.funcs
            };
            for function in given {
                let own = TypeId(function.type_id);
                let type_id = if kept.binary_search(&own).is_ok() {
                    own
                } else {
                    let proto = *proto.get_or_insert_with(|| {
                        let int = builder.add_int("int", 4, Encoding::Signed);
                        builder.add_func_proto(int, &[])
                    });
                    builder.add_func(&identifier(&function.name), proto, Linkage::Static)
                };
                functions.push(FuncInfo {
                    insn: function.insn,
                    type_id,
                });
            }
            let lines = lines(program, &functions, &files, &mut builder);
            records.push(Records {
                functions: FuncInfo::records(&functions, host),
                lines: LineInfo::records(&lines, host),
            });
        }
        ObjectBtf {
            blob: builder.finish(),
            records,
        }
    }

    /// Gives the records of the program with this index.
    pub(crate) fn records(&self, program: usize) -> Option<&Records> {
        self.records.get(program)
    }

    /// Loads the blob.
    fn load(&self, kernel: &dyn Kernel) -> Result<OwnedFd, Error> {
        let load = BtfLoad {
            bytes: &self.blob,
            token: None,
            log: None,
        };
        kernel.btf_load(load).map_err(|errno| {
            #[cfg(feature = "token")]
            let undelegated = || missing(kernel, Wanted::Types);
            #[cfg(not(feature = "token"))]
            let undelegated = || None;
            if let Some(cause) = (errno == Errno::PERM).then(undelegated).flatten() {
                let call = "BPF_BTF_LOAD";
                return Error::permission(call, cause);
            }
            let mut log = vec![0; 1 << 16];
            let again = BtfLoad {
                bytes: &self.blob,
                token: None,
                log: Some(&mut log),
            };
            // Only for what it says.
            let _ = kernel.btf_load(again);
            let text = String::from_utf8_lossy(&log);
            let said = text
                .trim_end_matches('\0')
                .lines()
                .last()
                .unwrap_or_default()
                .to_owned();
            Error::os("BPF_BTF_LOAD", errno, format!("the object's types: {said}"))
        })
    }
}

/// An object's types as the kernel has them.
#[derive(Debug)]
pub(crate) struct LoadedBtf {
    built: ObjectBtf,
    fd: Result<OwnedFd, Error>,
}

impl LoadedBtf {
    /// Builds the types of a spec and loads them. Where the kernel refuses them, it is tried out
    /// which kinds of types it does not take, and they are loaded again without those.
    pub(crate) fn load(kernel: &dyn Kernel, spec: &Spec, local: Option<&Btf>) -> LoadedBtf {
        let built = ObjectBtf::build(spec, local, &Takes::everything());
        let mut loaded = LoadedBtf {
            fd: built.load(kernel),
            built,
        };
        let refused = loaded.fd.as_ref().err().and_then(Error::errno);
        if let Some(local) = local {
            if matches!(refused, Some(Errno::INVAL)) {
                let takes = Takes::probe(kernel, local);
                if takes != Takes::everything() {
                    let built = ObjectBtf::build(spec, Some(local), &takes);
                    loaded = LoadedBtf {
                        fd: built.load(kernel),
                        built,
                    };
                }
            }
        }
        loaded
    }

    /// Gives the descriptor, where the kernel took the types.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().ok().map(AsFd::as_fd)
    }

    /// Gives the descriptor with the records of a program.
    pub(crate) fn of_program(&self, program: usize) -> Option<(BorrowedFd<'_>, &Records)> {
        self.fd().zip(self.built.records(program))
    }

    /// Tells why the kernel refused the types.
    pub(crate) fn refused(&self) -> Option<&Error> {
        self.fd.as_ref().err()
    }
}

struct File<'a> {
    name: u32,
    text: &'a SourceText,
    starts: Vec<usize>,
}

impl File<'_> {
    /// Gives the text of a line, counted from 1, without its end.
    fn line(&self, number: u32) -> &str {
        let SourceText::Whole(text) = self.text else {
            return self.text.line(number).unwrap_or_default();
        };
        let index = (number as usize).saturating_sub(1);
        let rest = self.starts.get(index).and_then(|&start| text.get(start..));
        rest.and_then(|rest| rest.lines().next())
            .unwrap_or_default()
    }
}

/// Where the lines of a whole text begin.
fn line_starts(text: &SourceText) -> Vec<usize> {
    let SourceText::Whole(text) = text else {
        return Vec::new();
    };
    [0].into_iter()
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect()
}

/// Gives the lines of a program, with one at the start of each function, which the kernel demands.
fn lines(
    program: &ProgramSpec,
    functions: &[FuncInfo],
    files: &[File<'_>],
    builder: &mut Builder,
) -> Vec<LineInfo> {
    let mut out: Vec<LineInfo> = Vec::new();
    let mut push = |insn: u32, at: &kscope_spec::LineInfo| {
        let Some(file) = files.get(at.file as usize) else {
            return;
        };
        // Strictly ascending, or the kernel refuses the program.
        if out.last().is_some_and(|last: &LineInfo| last.insn >= insn) {
            return;
        }
        let text = builder.add_string(file.line(at.line));
        out.push(LineInfo {
            insn,
            file: file.name,
            text,
            line: at.line,
            column: at.column,
        });
    };
    let Some(first) = program.lines.first() else {
        return out;
    };
    let mut starts = functions.iter().map(|function| function.insn).peekable();
    let mut before = first;
    for line in &program.lines {
        while let Some(start) = starts.next_if(|&start| start <= line.insn) {
            if start < line.insn {
                push(start, before);
            }
        }
        push(line.insn, line);
        before = line;
    }
    starts.for_each(|start| push(start, before));
    out
}

/// Makes a C identifier, as the kernel demands of functions' names.
fn identifier(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars().take(127) {
        out.push(match c {
            c if c.is_ascii_alphanumeric() => c,
            _ => '_',
        });
    }
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

#[cfg(test)]
mod tests;
