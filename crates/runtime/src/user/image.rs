//! What a program or library has that can be probed, read once.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use kscope_bpf::{Executable, Function, UsdtNote};
use kscope_script::catalogue::Language;
use kscope_symbol::{UserFile, UserFunction};

/// After so many names that were looked for one by one, all functions are put in order.
const FEW: usize = 16;

/// A program or library, of which is read what somebody asks for.
#[derive(Debug)]
pub(crate) struct Image {
    /// What symbols and notes are in.
    bytes: Vec<u8>,
    functions: OnceLock<Vec<ImageFunction>>,
    objects: OnceLock<Vec<ImageObject>>,
    /// The functions that were asked for by name.
    named: Mutex<HashMap<String, Option<ImageFunction>>>,
    /// The places of its USDT probes, in the order of the file.
    pub(crate) usdt: Vec<UsdtNote>,
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
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Image, kscope_bpf::Error> {
        let file = Executable::parse(&bytes)?;
        let (usdt, machine) = (file.usdt_notes(), file.machine);
        Ok(Image {
            functions: OnceLock::new(),
            objects: OnceLock::new(),
            named: Mutex::default(),
            usdt,
            machine,
            bytes,
        })
    }

    /// Gives its functions by name, then by place; each once.
    pub(crate) fn functions(&self) -> &[ImageFunction] {
        self.functions.get_or_init(|| {
            let file = Executable::parse(&self.bytes);
            let functions = file.iter().flat_map(Executable::functions);
            let mut functions: Vec<ImageFunction> = functions.map(ImageFunction::of).collect();
            functions.sort();
            functions.dedup();
            functions
        })
    }

    /// Says whether it has symbols of functions.
    pub(crate) fn has_functions(&self) -> bool {
        let file = Executable::parse(&self.bytes);
        file.is_ok_and(|file| file.functions().next().is_some())
    }

    /// Gives its variables by name, then by address; each once.
    pub(crate) fn objects(&self) -> &[ImageObject] {
        self.objects.get_or_init(|| {
            let file = Executable::parse(&self.bytes);
            let objects = file.iter().flat_map(Executable::objects);
            let mut objects: Vec<ImageObject> = objects
                .map(|object| ImageObject {
                    name: text(object.name),
                    address: object.address,
                    size: object.size,
                })
                .collect();
            objects.sort();
            objects.dedup();
            objects
        })
    }

    /// Finds a function by its name in the symbol table; of several the first in the file.
    pub(crate) fn function(&self, name: &str) -> Option<ImageFunction> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = named.get(name) {
            return known.clone();
        }
        if self.functions.get().is_some() || named.len() >= FEW {
            let all = self.functions();
            let first = all.partition_point(|function| function.name.as_str() < name);
            return all.get(first).filter(|one| one.name == name).cloned();
        }
        let file = Executable::parse(&self.bytes).ok()?;
        let found = file.functions_named(name).map(ImageFunction::of);
        let found = found.filter(|function| function.name == name).min();
        named.insert(name.to_owned(), found.clone());
        found
    }
}

impl ImageFunction {
    fn of(function: Function<'_>) -> ImageFunction {
        ImageFunction {
            name: text(function.name),
            offset: function.offset,
            size: function.size,
        }
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

/// Most bytes of a name as it was written: a few that are mangled may stand for billions.
const LONGEST_NAME: usize = 64 << 10;

/// A name that is being written, up to [`LONGEST_NAME`].
#[derive(Debug, Default)]
struct Name(String);

impl Write for Name {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if part.len() > LONGEST_NAME - self.0.len() {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

/// Gives a name as it was written in its language; none where it is of another, or is longer than
/// [`LONGEST_NAME`].
pub(crate) fn demangled(name: &str, language: Language) -> Option<String> {
    let mut written = Name::default();
    let done = match language {
        Language::Cpp => {
            if !name.starts_with("_Z") {
                return None;
            }
            let symbol = cpp_demangle::Symbol::new(name).ok()?;
            let options = cpp_demangle::DemangleOptions::default();
            symbol.structured_demangle(&mut written, &options)
        }
        Language::Rust => {
            let name = rustc_demangle::try_demangle(name).ok()?;
            write!(written, "{name:#}")
        }
    };
    done.ok().map(|()| written.0)
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
    fn names_that_stand_for_too_much_are_none() {
        // A<int, int>, then each time A<all of the last>.
        let name = |levels: usize, of_each: usize| {
            let level = |level: usize| format!("S_I{}E", format!("S{level}_").repeat(of_each));
            let all: String = (0..levels).map(level).collect();
            format!("_Z1f1AIiiE{all}")
        };
        let short = demangled(&name(2, 2), Language::Cpp);
        let expected = "f(A<int, int>, A<A<int, int>, A<int, int> >, A<A<A<int, int>, A<int, int> >, \
                        A<A<int, int>, A<int, int> > >)";
        assert_eq!(short.as_deref(), Some(expected));
        // It would have more bytes than there is memory in the world.
        assert_eq!(demangled(&name(9, 99), Language::Cpp), None);
        let length = |letters: usize| {
            let name = format!("_ZN{letters}{}Ev", "a".repeat(letters));
            demangled(&name, Language::Cpp).map(|name| name.len())
        };
        // Parentheses are behind it.
        assert_eq!(length(LONGEST_NAME - 2), Some(LONGEST_NAME));
        assert_eq!(length(LONGEST_NAME - 1), None);
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
        let image = Image::read(bytes.clone()).expect("an executable");
        let main = image.function("main").expect("it has one");
        assert!(main.size > 0 && image.usdt.is_empty());
        assert!(image.function("no such function").is_none());
        assert!(image.has_functions());
        assert!(Image::read(b"#!/bin/sh\n".to_vec()).is_err());
        assert!(read_symbols(&bytes).functions.len() >= image.functions().len());
        // What is found by name, with a list and without, is the first of that name in the list.
        let by_name = image.functions().chunk_by(|a, b| a.name == b.name);
        let by_name: Vec<&[ImageFunction]> = by_name.collect();
        for same in by_name.iter().step_by(97) {
            assert_eq!(image.function(&same[0].name).as_ref(), same.first());
        }
        let searched = Image::read(bytes).expect("an executable");
        for same in by_name.iter().step_by(by_name.len() / FEW + 1) {
            assert_eq!(searched.function(&same[0].name).as_ref(), same.first());
        }
        assert!(searched.functions.get().is_none());
    }
}
