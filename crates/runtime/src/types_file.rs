//! Types read from files that a person names: BTF as it is, and ELF files that have it in a section.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use kscope_btf::Btf;
use kscope_spec::elf::{ElfError, find_sections};
use kscope_sys::Errno;

use crate::error::Error;

/// Largest BTF in bytes; the largest kernels have some ten million.
const LARGEST: u64 = 512 << 20;
/// Size in bytes of BTF's header.
const HEADER: u64 = 24;
/// Sections of an ELF file: its types, and those of a module's that its own continue.
const SECTIONS: [&str; 2] = [".BTF", ".BTF.base"];

/// Reads types from a file: BTF, or the section `.BTF` of an ELF file of any machine, such as a kernel
/// with its debugging information, a module or an eBPF object. Of an ELF file no more than that is read.
///
/// The types of a module continue those of its kernel, which `base` is asked for.
///
/// # Errors
///
/// [`Error::Types`] where the file cannot be read, is of another kind or malformed; what `base` fails
/// with.
pub fn types_of_file(path: &Path, base: &dyn Fn() -> Result<Btf, Error>) -> Result<Btf, Error> {
    let failed = |why: String| Error::Types {
        path: path.display().to_string(),
        why,
    };
    let source = Source::open(path).map_err(|error| failed(told(&error)))?;
    let (own, of_module) = source.types().map_err(|why| failed(why.0))?;
    let malformed = |error: kscope_btf::Error| failed(error.to_string());
    if !Btf::is_split(&own) {
        return Btf::parse(own).map_err(malformed);
    }
    let base = match of_module {
        Some(bytes) => Btf::parse(bytes).map_err(malformed)?,
        None => base()?,
    };
    let types = Btf::parse_split(own, &base).map_err(malformed)?;
    types.validate().map_err(|error| {
        failed(format!(
            "they are a module's and do not fit the kernel's types that they were read with, give \
             those of its own kernel: {error}"
        ))
    })?;
    Ok(types)
}

fn told(error: &std::io::Error) -> String {
    let errno = error.raw_os_error().map(Errno);
    errno.map_or_else(|| error.to_string(), |errno| errno.to_string())
}

/// Why types cannot be read.
struct Why(String);

impl From<ElfError> for Why {
    fn from(error: ElfError) -> Why {
        Why(error.to_string())
    }
}

/// A file, or what could be read of it only once.
enum Source {
    File(File, u64),
    Read(Vec<u8>),
}

impl Source {
    fn open(path: &Path) -> std::io::Result<Source> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        // Pipes have no size, and files that the kernel makes as they are read have none either.
        if about.is_file() && about.len() > HEADER {
            return Ok(Source::File(file, about.len()));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(Source::Read(bytes))
    }

    fn len(&self) -> u64 {
        match self {
            Source::File(_, len) => *len,
            Source::Read(bytes) => bytes.len() as u64,
        }
    }

    /// Reads what of a range lies in the file.
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Why> {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        if end - start > LARGEST {
            return Err(Why(format!("{} bytes are too many", end - start)));
        }
        match self {
            Source::Read(bytes) => {
                let bytes = bytes.get(start as usize..end as usize);
                Ok(bytes.unwrap_or_default().to_vec())
            }
            Source::File(file, _) => {
                let mut bytes = vec![0; (end - start) as usize];
                let read = file.read_exact_at(&mut bytes, start);
                read.map_err(|error| Why(told(&error)))?;
                Ok(bytes)
            }
        }
    }

    /// Gives the BTF, and that which it continues where the file has both.
    fn types(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), Why> {
        let start = self.read(0..HEADER)?;
        if !start.starts_with(b"\x7fELF") {
            if let Some(what) = other_kind(&start) {
                return Err(Why(what.to_owned()));
            }
            if self.len() < HEADER {
                let len = self.len();
                return Err(Why(format!(
                    "not BTF: it has {len} bytes, fewer than BTF's header"
                )));
            }
            return Ok((self.read(0..self.len())?, None));
        }
        let found = find_sections::<Why>(&SECTIONS, &mut |range| self.read(range))?;
        let mut found = found.into_iter().map(|range| match range {
            Some(range) if range.end > self.len() => Err(Why(format!(
                "the ELF file is cut: its types would end at byte {}, and it has {}",
                range.end,
                self.len()
            ))),
            Some(range) => self.read(range).map(Some),
            None => Ok(None),
        });
        let own = found.next().transpose()?.flatten();
        let own = own.ok_or_else(|| {
            Why(
                "the ELF file has no section .BTF: kernels and modules have it where \
                 CONFIG_DEBUG_INFO_BTF is set, eBPF objects where clang was told -g"
                    .to_owned(),
            )
        })?;
        Ok((own, found.next().transpose()?.flatten()))
    }
}

/// How files begin that people take for files with types, and what they are.
const OTHER_KINDS: [(&[u8], &str); 5] = [
    (
        b"MZ",
        "it is a kernel to boot, packed: take the vmlinux of its debugging information",
    ),
    (b"\xfd7zXZ\0", "it is compressed: unpack it with xz -dk"),
    (
        b"\x28\xb5\x2f\xfd",
        "it is compressed: unpack it with zstd -d",
    ),
    (b"\x1f\x8b", "it is compressed: unpack it with gzip -dk"),
    (b"!<arch>\n", "it is an archive: take an object out of it"),
];

/// Names what people take for a file with types, by how it begins.
fn other_kind(start: &[u8]) -> Option<&'static str> {
    let mut kinds = OTHER_KINDS.iter();
    let (_, what) = kinds.find(|(magic, _)| start.starts_with(magic))?;
    Some(what)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use kscope_btf::Encoding;
    use kscope_btf::write::Builder;

    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        // Tests run beside one another in one process.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kscope-types-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).expect("written");
        let base = || {
            let mut b = Builder::new();
            b.add_int("int", 4, Encoding::Signed);
            Ok(Btf::parse(b.finish()).expect("fine"))
        };
        let told = match types_of_file(&path, &base) {
            Ok(types) => format!("{} types", types.type_count()),
            Err(Error::Types { why, .. }) => why,
            Err(other) => other.to_string(),
        };
        std::fs::remove_file(&path).expect("ours");
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn what_is_no_file_of_types_is_named() {
        check(b"", "not BTF: it has 0 bytes");
        check(b"\x9f\xeb\x01", "not BTF: it has 3 bytes");
        check(&[b'x'; 100], "not BTF: the magic");
        check(b"\x7fELF and nothing else in the file", "malformed ELF");
        check(b"MZ and what a kernel to boot begins with", "packed");
        check(b"\xfd7zXZ\0, then a module", "xz -dk");
        check(b"\x28\xb5\x2f\xfd, then a module", "zstd -d");
        check(b"\x1f\x8b, then a module", "gzip -dk");
    }

    #[test]
    fn types_of_a_module_go_on_from_those_of_the_kernel() {
        let mut b = Builder::new();
        let _ = b.add_int("int", 4, Encoding::Signed);
        let base = b.finish();
        check(&base, "2 types");
        let strings = base.get(20..24).and_then(<[u8]>::first_chunk);
        let strings = u32::from_le_bytes(*strings.expect("a header"));
        // A typedef of the base's type, whose name follows the base's strings.
        let of = |to: u32| {
            let words = [24, 0, 12, 12, 7, strings, 8 << 24, to].map(u32::to_le_bytes);
            [&[0x9f, 0xeb, 1, 0], &words.concat()[..], b"number\0"].concat()
        };
        assert!(Btf::is_split(&of(1)));
        check(&of(1), "3 types");
        check(&of(9), "do not fit the kernel's types");
    }
}
