//! What a program or library has that can be probed, read once.

use kscope_bpf::{Executable, UsdtNote};
use kscope_script::catalogue::Language;
use kscope_symbol::{UserFile, UserFunction};

/// A program or library.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// Its functions by name, then by place; each once.
    pub(crate) functions: Vec<ImageFunction>,
    /// The places of its USDT probes, in the order of the file.
    pub(crate) usdt: Vec<UsdtNote>,
    /// Its variables.
    pub(crate) objects: Vec<ImageObject>,
    /// The processor it is for.
    pub(crate) machine: u16,
}

/// A function that has a place in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageFunction {
    pub(crate) name: String,
    /// Offset in bytes into the file.
    pub(crate) offset: u64,
    /// Size in bytes; 0 where nobody says.
    pub(crate) size: u64,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageObject {
    pub(crate) name: String,
    /// Its address as the file is linked.
    pub(crate) address: u64,
    /// Size in bytes.
    pub(crate) size: u64,
}

impl Image {
    /// Reads a file; one that is no executable is an error.
    pub(crate) fn read(bytes: &[u8]) -> Result<Image, kscope_bpf::Error> {
        let file = Executable::parse(bytes)?;
        let mut functions: Vec<ImageFunction> = file
            .functions()
            .map(|function| ImageFunction {
                name: text(function.name),
                offset: function.offset,
                size: function.size,
            })
            .collect();
        functions.sort();
        functions.dedup();
        let mut objects: Vec<ImageObject> = file
            .objects()
            .map(|object| ImageObject {
                name: text(object.name),
                address: object.address,
                size: object.size,
            })
            .collect();
        objects.sort();
        objects.dedup();
        Ok(Image {
            functions,
            usdt: file.usdt_notes(),
            objects,
            machine: file.machine,
        })
    }

    /// Finds a function by its name in the symbol table.
    pub(crate) fn function(&self, name: &str) -> Option<&ImageFunction> {
        let first = self.functions.partition_point(|f| f.name.as_str() < name);
        let mut same = self.functions.get(first..)?.iter();
        same.next().filter(|function| function.name == name)
    }
}

/// Reads what names of addresses need of a file.
pub(crate) fn read_symbols(bytes: &[u8]) -> UserFile {
    let Ok(file) = Executable::parse(bytes) else {
        return UserFile::default();
    };
    let functions = file.functions().map(|function| UserFunction {
        name: text(function.name),
        offset: function.offset,
        size: function.size,
    });
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect();
    UserFile {
        functions: functions.collect(),
        build_id: file.build_id().map(hex),
    }
}

/// Gives a symbol's name without the version that some tables put behind it.
fn text(name: &[u8]) -> String {
    let end = name.iter().position(|byte| *byte == b'@');
    let end = end.filter(|end| *end > 0).unwrap_or(name.len());
    String::from_utf8_lossy(name.get(..end).unwrap_or(name)).into_owned()
}

/// Gives a name as it was written in its language; none where it is of another.
pub(crate) fn demangled(name: &str, language: Language) -> Option<String> {
    match language {
        Language::Cpp => {
            if !name.starts_with("_Z") {
                return None;
            }
            let symbol = cpp_demangle::Symbol::new(name).ok()?;
            symbol
                .demangle(&cpp_demangle::DemangleOptions::default())
                .ok()
        }
        Language::Rust => {
            let name = rustc_demangle::try_demangle(name).ok()?;
            Some(format!("{name:#}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_back_their_language() {
        let check = |name, language, expected: Option<&str>| {
            assert_eq!(demangled(name, language).as_deref(), expected, "{name}");
        };
        check("_Z3addii", Language::Cpp, Some("add(int, int)"));
        check("add", Language::Cpp, None);
        check(
            "_ZN4core3fmt5write17h0123456789abcdefE",
            Language::Rust,
            Some("core::fmt::write"),
        );
        check("main", Language::Rust, None);
    }

    #[test]
    fn versions_are_no_part_of_names() {
        assert_eq!(text(b"memcpy@@GLIBC_2.14"), "memcpy");
        assert_eq!(text(b"memcpy"), "memcpy");
        assert_eq!(text(b"@odd"), "@odd");
    }

    #[test]
    fn this_program_has_functions() {
        let path = std::env::current_exe().expect("this program");
        let bytes = std::fs::read(path).expect("it can be read");
        let image = Image::read(&bytes).expect("an executable");
        let main = image.function("main").expect("it has one");
        assert!(main.size > 0 && image.usdt.is_empty());
        assert!(image.function("no such function").is_none());
        assert!(Image::read(b"#!/bin/sh\n").is_err());
        assert!(read_symbols(&bytes).functions.len() >= image.functions.len());
    }
}
