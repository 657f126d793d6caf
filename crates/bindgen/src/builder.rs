//! From a build script to a skeleton.

use std::path::{Path, PathBuf};

use kscope_spec::read;

use crate::compiler::{self, Target};
use crate::error::Error;
use crate::{Options, generate};

/// Makes a skeleton in a build script.
#[derive(Clone, Debug)]
pub struct Builder {
    source: PathBuf,
    events: Vec<String>,
    arguments: Vec<String>,
    folder: Option<PathBuf>,
    name: Option<String>,
}

/// What [`Builder::build`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The object file.
    pub object: PathBuf,
    /// The skeleton, for `include!`: a module of the object's name.
    pub skeleton: PathBuf,
}

impl Builder {
    /// Begins with a source in C (`x.bpf.c`), which is compiled with clang, or with a compiled
    /// object (`x.bpf.o`).
    #[must_use]
    pub fn new(source: impl Into<PathBuf>) -> Builder {
        Builder {
            source: source.into(),
            events: Vec::new(),
            arguments: Vec::new(),
            folder: None,
            name: None,
        }
    }

    /// Writes this type as well, although no map and no variable has it: that of an event.
    #[must_use]
    pub fn event(mut self, name: impl Into<String>) -> Builder {
        self.events.push(name.into());
        self
    }

    /// Gives clang one more argument.
    #[must_use]
    pub fn clang_arg(mut self, argument: impl Into<String>) -> Builder {
        self.arguments.push(argument.into());
        self
    }

    /// Looks for headers in this folder as well.
    #[must_use]
    pub fn include(self, folder: impl AsRef<Path>) -> Builder {
        let argument = format!("-I{}", folder.as_ref().display());
        self.clang_arg(argument)
    }

    /// Writes the files here, instead of into `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.folder = Some(folder.into());
        self
    }

    /// Names the module, instead of after the file (what stands before its first dot).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Compiles, writes `NAME.bpf.o` and `NAME.skel.rs`, and tells cargo of which files they are
    /// made and what clang warned of.
    ///
    /// # Errors
    ///
    /// [`Error::NoCompiler`] where there is no clang and the source is in C, else as [`generate`].
    pub fn build(&self) -> Result<Built, Error> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => std::env::var_os("OUT_DIR").ok_or(Error::NoFolder)?.into(),
        };
        let name = self.object_name();
        let built = Built {
            object: folder.join(format!("{name}.bpf.o")),
            skeleton: folder.join(format!("{name}.skel.rs")),
        };
        println!("cargo::rerun-if-changed={}", self.source.display());
        let is_source = self.source.extension().is_some_and(|end| end == "c");
        if is_source {
            println!("cargo::rerun-if-env-changed={}", compiler::VARIABLE);
            let target = Target::of_cargo();
            let compiler = compiler::find()?;
            let arguments = &self.arguments;
            let object = &built.object;
            let compiled = compiler::compile(&compiler, &self.source, object, &target, arguments)?;
            for file in compiled.files.iter().filter(|file| **file != self.source) {
                println!("cargo::rerun-if-changed={}", file.display());
            }
            for line in &compiled.warnings {
                println!("cargo::warning={line}");
            }
        }
        let from = if is_source {
            &built.object
        } else {
            &self.source
        };
        let bytes = std::fs::read(from).map_err(|error| failed("read", from, error))?;
        let spec = read::object_named(&name, &bytes).map_err(|error| Error::Object {
            path: from.clone(),
            error,
        })?;
        if !is_source {
            write(&built.object, &bytes)?;
        }
        let options = Options {
            object: Some(format!("{name}.bpf.o")),
            module: Some(name.clone()),
            name,
            events: self.events.clone(),
        };
        write(&built.skeleton, generate(&spec, &options)?.as_bytes())?;
        Ok(built)
    }

    fn object_name(&self) -> String {
        let of_file = || {
            let file = self.source.file_name().unwrap_or_default();
            let file = file.to_string_lossy();
            file.split('.').next().unwrap_or_default().to_owned()
        };
        self.name.clone().unwrap_or_else(of_file)
    }
}

fn failed(action: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::File {
        action,
        path: path.to_owned(),
        error,
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(|error| failed("write", path, error))
}
