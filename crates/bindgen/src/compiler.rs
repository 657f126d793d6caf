//! Running clang.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// Names the compiler where it is not on the path under one of its names.
pub(crate) const VARIABLE: &str = "KSCOPE_CLANG";

/// Looks for a clang that runs: the one that is named, else any.
pub(crate) fn find() -> Result<String, Error> {
    let runs = |name: &String| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    if let Ok(named) = std::env::var(VARIABLE) {
        return match runs(&named) {
            true => Ok(named),
            false => Err(Error::NoCompiler {
                tried: format!("{VARIABLE} is {named}, which does not run"),
            }),
        };
    }
    let versions = (14..40).rev().map(|version| format!("clang-{version}"));
    let mut names = std::iter::once("clang".to_owned()).chain(versions);
    names.find(runs).ok_or_else(|| Error::NoCompiler {
        tried: "neither clang nor clang-14 to clang-39 runs".to_owned(),
    })
}

/// What is compiled for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The processor as Rust names it.
    pub(crate) arch: String,
    /// Whether it keeps the highest byte first.
    pub(crate) big: bool,
}

impl Target {
    /// Gives the target of the build script, or of this program.
    pub(crate) fn of_cargo() -> Target {
        let arch = std::env::var("CARGO_CFG_TARGET_ARCH");
        let endian = std::env::var("CARGO_CFG_TARGET_ENDIAN");
        Target {
            arch: arch.unwrap_or_else(|_| std::env::consts::ARCH.to_owned()),
            big: endian.map_or(cfg!(target_endian = "big"), |endian| endian == "big"),
        }
    }

    /// Gives the macro that `bpf_tracing.h` looks for.
    fn define(&self) -> String {
        let arch = match self.arch.as_str() {
            "x86_64" | "x86" => "x86",
            "aarch64" => "arm64",
            "riscv64" | "riscv64gc" => "riscv",
            "s390x" => "s390",
            "powerpc64" => "powerpc",
            "loongarch64" => "loongarch",
            "mips64" => "mips",
            other => other,
        };
        format!("-D__TARGET_ARCH_{arch}")
    }

    /// Gives the folder where Debian has the processor's own headers (`asm/`), which `linux/` ones
    /// include, those of `bpf/usdt.bpf.h` as well. Clang does not look there for eBPF.
    fn multiarch(&self) -> PathBuf {
        let triple = match self.arch.as_str() {
            "x86" => "i386-linux-gnu".to_owned(),
            "riscv64gc" => "riscv64-linux-gnu".to_owned(),
            "powerpc64" if !self.big => "powerpc64le-linux-gnu".to_owned(),
            "mips64" if !self.big => "mips64el-linux-gnuabi64".to_owned(),
            other => format!("{other}-linux-gnu"),
        };
        Path::new("/usr/include").join(triple)
    }

    /// Gives the arguments by which headers are found that lie in no folder of clang's own.
    fn headers(&self) -> Vec<OsString> {
        let folder = self.multiarch();
        match folder.is_dir() {
            // After all others, so that it hides none.
            true => vec!["-idirafter".into(), folder.into()],
            false => Vec::new(),
        }
    }
}

/// What came of compiling a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compiled {
    /// The files that it includes.
    pub(crate) files: Vec<PathBuf>,
    /// What the compiler warned of, line by line.
    pub(crate) warnings: Vec<String>,
}

/// Compiles a source with a clang that [`find`] found.
pub(crate) fn compile(
    compiler: &str,
    source: &Path,
    object: &Path,
    target: &Target,
    arguments: &[String],
) -> Result<Compiled, Error> {
    if !source.exists() {
        return Err(Error::File {
            action: "read",
            path: source.to_owned(),
            error: std::io::ErrorKind::NotFound.into(),
        });
    }
    let listed = object.with_extension("d");
    let mut command = Command::new(compiler);
    command
        .args(["-g", "-O2", "-Wall", "-mcpu=v3", "-target"])
        .arg(if target.big { "bpfeb" } else { "bpfel" })
        .arg(target.define())
        // Paths in the object are the same everywhere.
        .arg("-fdebug-compilation-dir=.")
        .args(arguments)
        .args(target.headers())
        .args(["-MMD", "-MF"])
        .arg(&listed)
        .args(["-c", "-o"])
        .arg(object)
        .arg(source);
    let shown = format!("{command:?}");
    let output = command.output().map_err(|error| Error::File {
        action: "run",
        path: compiler.into(),
        error,
    })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(Error::Compiler {
            command: shown,
            said,
        });
    }
    let rule = std::fs::read_to_string(&listed).unwrap_or_default();
    let _ = std::fs::remove_file(&listed);
    Ok(Compiled {
        files: dependencies(&rule),
        warnings: said.lines().map(str::to_owned).collect(),
    })
}

/// Reads the files after the colon of a rule that a compiler wrote for make.
fn dependencies(rule: &str) -> Vec<PathBuf> {
    let (_, files) = rule.split_once(": ").unwrap_or_default();
    let mut found = vec![String::new()];
    let mut chars = files.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\n') | None => found.push(String::new()),
                Some(escaped) => found
                    .last_mut()
                    .into_iter()
                    .for_each(|file| file.push(escaped)),
            },
            c if c.is_whitespace() => found.push(String::new()),
            c => found.last_mut().into_iter().for_each(|file| file.push(c)),
        }
    }
    found
        .into_iter()
        .filter(|file| !file.is_empty())
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_make_are_read() {
        let check = |rule: &str, expected: &[&str]| {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(dependencies(rule), expected);
        };
        check("a.o: a.c b.h", &["a.c", "b.h"]);
        check("a.o: a.c \\\n  b.h \\\n  c.h\n", &["a.c", "b.h", "c.h"]);
        check("a.o: a\\ b.c\n", &["a b.c"]);
        check("", &[]);
        check("a.o: a.c \\", &["a.c"]);
    }

    #[test]
    fn processors_have_their_names_in_headers() {
        let check = |arch: &str, expected: &str| {
            let target = Target {
                arch: arch.to_owned(),
                big: false,
            };
            assert_eq!(target.define(), format!("-D__TARGET_ARCH_{expected}"));
        };
        check("x86_64", "x86");
        check("aarch64", "arm64");
        check("s390x", "s390");
        check("arm", "arm");
    }

    #[test]
    fn headers_of_the_processor_have_a_folder() {
        let check = |arch: &str, big, expected: &str| {
            let arch = arch.to_owned();
            let folder = Target { arch, big }.multiarch();
            assert_eq!(folder, Path::new("/usr/include").join(expected));
        };
        check("x86_64", false, "x86_64-linux-gnu");
        check("aarch64", false, "aarch64-linux-gnu");
        check("powerpc64", false, "powerpc64le-linux-gnu");
        check("powerpc64", true, "powerpc64-linux-gnu");
        check("s390x", true, "s390x-linux-gnu");
    }

    /// A shell plays the compiler: it warns, and writes its arguments as the object.
    #[test]
    fn what_the_compiler_says_is_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let name = format!("kscope-bindgen-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let (clang, source) = (folder.join("clang"), folder.join("a.bpf.c"));
        let script = "#!/bin/sh\necho 'a.bpf.c:1: warning: unused' >&2\necho '1 warning' >&2\n\
            echo \"$@\" > \"${0%clang}a.bpf.o\"\nprintf 'a.bpf.o: a.bpf.c b.h' > \"${0%clang}a.bpf.d\"\n";
        std::fs::write(&clang, script).expect("written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&clang, mode).expect("ours");
        std::fs::write(&source, "").expect("written");
        let object = folder.join("a.bpf.o");
        let target = Target {
            arch: std::env::consts::ARCH.to_owned(),
            big: false,
        };
        let compiler = clang.to_string_lossy();
        let compiled = compile(&compiler, &source, &object, &target, &["-DX".to_owned()]);
        let compiled = compiled.expect("it succeeds");
        let arguments = std::fs::read_to_string(&object).expect("written");
        std::fs::remove_dir_all(&folder).expect("ours");
        assert_eq!(
            compiled.warnings,
            ["a.bpf.c:1: warning: unused", "1 warning"]
        );
        assert_eq!(compiled.files, ["a.bpf.c", "b.h"].map(PathBuf::from));
        let folder = target.multiarch();
        let expected = format!("-DX -idirafter {} -MMD", folder.display());
        assert_eq!(
            arguments.contains(&expected),
            folder.is_dir(),
            "{arguments}"
        );
    }
}
