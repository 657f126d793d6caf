//! What can go wrong, as values.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no skeleton.
#[non_exhaustive]
pub enum Error {
    /// The object has no types.
    NoTypes,
    /// The object's types are malformed.
    Types(kscope_btf::Error),
    /// The file is no eBPF object.
    Object {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: kscope_spec::read::ReadError,
    },
    /// The object has no type of a name that was asked for.
    NoSuchType {
        /// The name.
        name: String,
        /// Names that are near.
        near: Vec<String>,
    },
    /// A type cannot be said in Rust.
    Refused {
        /// The type, and the member.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// There is no C compiler that makes eBPF.
    NoCompiler {
        /// What was looked for, and not found.
        tried: String,
    },
    /// The compiler refused the source.
    Compiler {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// A file could not be read or written.
    File {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Cargo did not set an environment variable: this is no build script, and no folder was given.
    NoFolder,
}

impl Error {
    /// Tells whether nothing is wrong but that there is no compiler.
    #[must_use]
    pub fn is_missing_compiler(&self) -> bool {
        matches!(self, Error::NoCompiler { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoTypes => f.write_str(
                "the object has no types (BTF): compile it with -g, and do not strip .BTF",
            ),
            Error::Types(error) => write!(f, "the object's types: {error}"),
            Error::Object { path, error } => {
                write!(f, "{} is no eBPF object: {error}", path.display())
            }
            Error::NoSuchType { name, near } => {
                write!(f, "the object has no type {name}")?;
                match near.is_empty() {
                    true => write!(
                        f,
                        "; clang leaves out what no map, variable or function has: declare \
                         `const struct {name} *unused_{name} __attribute__((unused));`"
                    ),
                    false => write!(f, "; did you mean {}?", near.join(", ")),
                }
            }
            Error::Refused { name, why } => write!(f, "{name} cannot be written in Rust: {why}"),
            Error::NoCompiler { tried } => write!(
                f,
                "there is no clang ({tried}): install it (Debian: apt install clang), or set \
                 KSCOPE_CLANG to one, or give a compiled object in place of the source"
            ),
            Error::Compiler { command, said } => {
                write!(
                    f,
                    "the compiler refused the source\n{command}\n{}",
                    said.trim_end()
                )?;
                if said.contains("'vmlinux.h' file not found") {
                    f.write_str(
                        "\n`kscope btf dump > vmlinux.h` writes the types of the running kernel to this file, which \
                         belongs beside the source",
                    )?;
                }
                Ok(())
            }
            Error::File {
                action,
                path,
                error,
            } => write!(f, "cannot {action} {}: {error}", path.display()),
            Error::NoFolder => f.write_str(
                "OUT_DIR is not set: call this from a build script, or name a folder (out_dir)",
            ),
        }
    }
}

/// The same as the message: build scripts return it from `main`, which prints this.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_vmlinux_h_can_be_made() {
        let check = |said: &str, expected: bool| {
            let (command, said) = (String::new(), said.to_owned());
            let error = Error::Compiler { command, said }.to_string();
            assert_eq!(
                error.contains("`kscope btf dump > vmlinux.h`"),
                expected,
                "{error}"
            );
        };
        check(
            "a.bpf.c:1:10: fatal error: 'vmlinux.h' file not found",
            true,
        );
        check("a.bpf.c:1:10: fatal error: 'other.h' file not found", false);
    }

    #[test]
    fn messages_name_the_way_out() {
        let check = |error: Error, expected: &str| {
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.to_string(), format!("{error:?}"));
        };
        check(Error::NoTypes, "compile it with -g");
        let near = |near: &[&str]| Error::NoSuchType {
            name: "event".to_owned(),
            near: near.iter().map(|&name| name.to_owned()).collect(),
        };
        check(near(&["exec_event"]), "did you mean exec_event?");
        check(near(&[]), "const struct event *unused_event");
        let missing = Error::NoCompiler {
            tried: "no clang".to_owned(),
        };
        assert!(missing.is_missing_compiler());
        check(missing, "apt install clang");
        check(Error::NoFolder, "OUT_DIR is not set");
    }
}
