//! C type names as tracepoint formats and casts spell them: `const char *`, `u32`, `char[16]`.

use core::fmt;

use crate::blob::{Btf, TypeId};
use crate::kind::Kind;
use crate::query::{IntShape, POINTER};
use crate::types::{Encoding, Type};

/// A C type as its name describes it: a base, pointers to it, arrays of those.
///
/// `struct page *[4]` is base `struct page`, one pointer, dimensions `[4]`. Qualifiers are left
/// out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CType {
    /// What the pointers point to, or the type itself.
    pub base: CBase,
    /// Number of pointers.
    pub pointers: u32,
    /// Lengths of the array's dimensions, outermost first; 0 where the length is left open.
    pub dims: Vec<u32>,
}

/// The base of a C type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CBase {
    /// `void`.
    Void,
    /// One of C's integers or the kernel's fixed ones where BTF has no such typedef.
    Int(IntShape),
    /// A floating-point number of this size in bytes.
    Float(u32),
    /// A function: the base of `int (*)(void)`. Its parameters are not kept.
    Func,
    /// A structure, union, enumeration or typedef.
    Type(TypeId),
}

/// Why a text is no known C type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CTypeError {
    /// The text does not read as a type; the offset in bytes of what is not understood.
    Syntax(usize),
    /// No type of this kind and name is known ([`Kind::Typedef`] where no keyword is written).
    Unknown {
        /// Kind by the keyword: structure, union, enumeration or typedef.
        kind: Kind,
        /// Name without the keyword.
        name: String,
    },
}

impl fmt::Display for CTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CTypeError::Syntax(at) => write!(f, "not a C type from byte {at} on"),
            CTypeError::Unknown { kind, name } => {
                let keyword = match kind {
                    Kind::Struct => "struct ",
                    Kind::Union => "union ",
                    Kind::Enum => "enum ",
                    _ => "",
                };
                write!(f, "unknown type {keyword}{name}")
            }
        }
    }
}

impl std::error::Error for CTypeError {}

impl CType {
    /// Reads a C type name. Without BTF, C's own types and the kernel's integer names are known.
    ///
    /// # Errors
    /// Where the text is no type, or names one that is not known.
    pub fn parse(text: &str, btf: Option<&Btf>) -> Result<CType, CTypeError> {
        Parser { text, at: 0 }.parse(btf)
    }

    /// Gives size and sign where a value of the type fits a register: integer, enumeration or
    /// pointer, no array.
    #[must_use]
    pub fn int_shape(&self, btf: Option<&Btf>) -> Option<IntShape> {
        if !self.dims.is_empty() {
            return None;
        }
        if self.pointers > 0 {
            return Some(unsigned(POINTER));
        }
        match self.base {
            CBase::Int(shape) => Some(shape),
            CBase::Type(id) => btf?.int_shape(id),
            CBase::Void | CBase::Float(_) | CBase::Func => None,
        }
    }

    /// Gives the size in bytes; none for `void`, functions and types that are only declared.
    #[must_use]
    pub fn size_of(&self, btf: Option<&Btf>) -> Option<u64> {
        let one = match self.base {
            _ if self.pointers > 0 => POINTER.into(),
            CBase::Int(shape) => shape.size.into(),
            CBase::Float(size) => size.into(),
            CBase::Type(id) => btf?.size_of(id)?,
            CBase::Void | CBase::Func => return None,
        };
        self.dims
            .iter()
            .try_fold(one, |size, &n| size.checked_mul(n.into()))
    }
}

impl Btf {
    /// Finds a type by a C type name such as `struct task_struct *`.
    ///
    /// # Errors
    /// As [`CType::parse`].
    pub fn find_c_type(&self, text: &str) -> Result<CType, CTypeError> {
        CType::parse(text, Some(self))
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn parse(mut self, btf: Option<&Btf>) -> Result<CType, CTypeError> {
        let base = self.base(btf)?;
        let mut ty = CType {
            base,
            pointers: 0,
            dims: Vec::new(),
        };
        loop {
            if self.take("*") {
                ty.pointers += 1;
            } else if matches!(self.peek_word(), Some(w) if is_ignored(w)) {
                self.word();
            } else {
                break;
            }
        }
        if self.take("(") {
            // `int (*)(int, long)`: pointers to a function. The parameters are not read.
            ty.base = CBase::Func;
            ty.pointers = 0;
            while self.take("*") {
                ty.pointers += 1;
            }
            while matches!(self.peek_word(), Some(w) if is_ignored(w)) {
                self.word();
            }
            if ty.pointers == 0 || !self.take(")") || !self.take("(") {
                return Err(CTypeError::Syntax(self.at));
            }
            let close = self.text[self.at..]
                .rfind(')')
                .ok_or(CTypeError::Syntax(self.at))?;
            self.at += close + 1;
        }
        while self.take("[") {
            self.skip_space();
            let rest = &self.text[self.at..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let len = match &rest[..digits] {
                "" => 0,
                number => number.parse().map_err(|_| CTypeError::Syntax(self.at))?,
            };
            self.at += digits;
            ty.dims.push(len);
            if !self.take("]") {
                return Err(CTypeError::Syntax(self.at));
            }
        }
        self.skip_space();
        if self.at == self.text.len() {
            Ok(ty)
        } else {
            Err(CTypeError::Syntax(self.at))
        }
    }

    fn base(&mut self, btf: Option<&Btf>) -> Result<CBase, CTypeError> {
        let mut words = IntWords::default();
        let first = self.at;
        loop {
            let start = self.at;
            match self.peek_word() {
                Some(w) if is_ignored(w) => {
                    self.word();
                }
                Some(w) if words.add(w) => {
                    self.word();
                }
                Some(w) if !words.any => {
                    self.word();
                    return self.named(w, btf);
                }
                _ if words.any => return words.base().ok_or(CTypeError::Syntax(first)),
                _ => return Err(CTypeError::Syntax(start)),
            }
        }
    }

    fn named(&mut self, word: &str, btf: Option<&Btf>) -> Result<CBase, CTypeError> {
        let kind = match word {
            "void" => return Ok(CBase::Void),
            "struct" => Kind::Struct,
            "union" => Kind::Union,
            "enum" => Kind::Enum,
            _ => Kind::Typedef,
        };
        let name = match kind {
            Kind::Typedef => word,
            _ => self.word().ok_or(CTypeError::Syntax(self.at))?,
        };
        let found = btf.and_then(|b| {
            b.find(name, kind).or_else(|| {
                b.find_all(name).find(|&id| match b.get(id) {
                    Some(Type::Fwd { is_union, .. }) => match kind {
                        Kind::Struct => !is_union,
                        Kind::Union => is_union,
                        _ => false,
                    },
                    // A BTF integer that is no C spelling, such as `__int128 unsigned`'s parts.
                    Some(Type::Int(_)) => kind == Kind::Typedef,
                    _ => false,
                })
            })
        });
        match found {
            Some(id) => Ok(CBase::Type(id)),
            None if kind == Kind::Typedef => {
                well_known(name)
                    .map(CBase::Int)
                    .ok_or_else(|| CTypeError::Unknown {
                        kind,
                        name: name.to_owned(),
                    })
            }
            None => Err(CTypeError::Unknown {
                kind,
                name: name.to_owned(),
            }),
        }
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.text[self.at..].trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn peek_word(&mut self) -> Option<&'a str> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let starts = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts.then_some(&rest[..end])
    }

    fn word(&mut self) -> Option<&'a str> {
        let word = self.peek_word()?;
        self.at += word.len();
        Some(word)
    }
}

/// Tells whether a word changes nothing about what a value is.
fn is_ignored(word: &str) -> bool {
    matches!(
        word,
        "const"
            | "volatile"
            | "restrict"
            | "__restrict"
            | "__restrict__"
            | "__user"
            | "__rcu"
            | "__percpu"
            | "__iomem"
            | "__kernel"
            | "__data_loc"
            | "__rel_loc"
    )
}

/// The words that make up one of C's numbers, in any order.
#[derive(Default)]
struct IntWords {
    any: bool,
    signed: Option<bool>,
    int: bool,
    long: u8,
    core: Option<&'static str>,
    /// Two words that do not go together.
    clash: bool,
}

impl IntWords {
    /// Takes a word; false where it is no part of a number's name.
    fn add(&mut self, word: &str) -> bool {
        let core = match word {
            "unsigned" | "signed" | "__signed__" => {
                self.clash |= self.signed.replace(word != "unsigned").is_some();
                None
            }
            "long" => {
                self.long = self.long.saturating_add(1);
                None
            }
            "int" => {
                self.clash |= self.int;
                self.int = true;
                None
            }
            "short" => Some("short"),
            "char" => Some("char"),
            "_Bool" | "bool" => Some("bool"),
            "float" => Some("float"),
            "double" => Some("double"),
            "__int128" => Some("__int128"),
            _ => return false,
        };
        if core.is_some() {
            self.clash |= self.core.is_some();
            self.core = core;
        }
        self.any = true;
        true
    }

    fn base(&self) -> Option<CBase> {
        let int = |size, signed: bool| CBase::Int(shape(size, signed));
        let signed = self.signed.unwrap_or(true);
        if self.clash || (self.int && !matches!(self.core, None | Some("short"))) {
            return None;
        }
        let plain = self.signed.is_none();
        Some(match (self.core, self.long) {
            (None, 0) => int(4, signed),
            (None, 1 | 2) => int(8, signed),
            (Some("short"), 0) => int(2, signed),
            (Some("char"), 0) => {
                let encoding = match self.signed {
                    // Plain `char` has a sign on x86; BPF and bpftrace take it so everywhere.
                    None => Encoding::Char,
                    Some(true) => Encoding::Signed,
                    Some(false) => Encoding::Unsigned,
                };
                CBase::Int(IntShape {
                    size: 1,
                    signed,
                    encoding,
                })
            }
            (Some("bool"), 0) if plain => CBase::Int(BOOL),
            (Some("float"), 0) if plain => CBase::Float(4),
            (Some("double"), 0) if plain => CBase::Float(8),
            (Some("double"), 1) if plain => CBase::Float(16),
            (Some("__int128"), 0) => int(16, signed),
            _ => return None,
        })
    }
}

const BOOL: IntShape = IntShape {
    size: 1,
    signed: false,
    encoding: Encoding::Bool,
};

fn unsigned(size: u32) -> IntShape {
    shape(size, false)
}

fn shape(size: u32, signed: bool) -> IntShape {
    let encoding = if signed {
        Encoding::Signed
    } else {
        Encoding::Unsigned
    };
    IntShape {
        size,
        signed,
        encoding,
    }
}

/// Gives the shape of typedefs that every 64-bit Linux has, for BTF that lacks them.
fn well_known(name: &str) -> Option<IntShape> {
    Some(match name {
        "u8" | "__u8" | "uint8_t" | "u_int8_t" | "u_char" => unsigned(1),
        "u16" | "__u16" | "uint16_t" | "u_int16_t" | "u_short" | "__be16" | "__le16"
        | "umode_t" | "sa_family_t" => unsigned(2),
        "u32" | "__u32" | "uint32_t" | "u_int32_t" | "u_int" | "uint" | "__be32" | "__le32"
        | "__wsum" | "uid_t" | "gid_t" | "dev_t" | "gfp_t" | "fmode_t" | "__poll_t" | "qid_t" => {
            unsigned(4)
        }
        "u64" | "__u64" | "uint64_t" | "u_int64_t" | "u_long" | "ulong" | "__be64" | "__le64"
        | "size_t" | "uintptr_t" | "ino_t" | "sector_t" | "blkcnt_t" | "aio_context_t"
        | "phys_addr_t" | "dma_addr_t" | "resource_size_t" => unsigned(8),
        "s8" | "__s8" | "int8_t" => shape(1, true),
        "s16" | "__s16" | "int16_t" => shape(2, true),
        "s32" | "__s32" | "int32_t" | "pid_t" | "key_t" | "timer_t" | "clockid_t" | "mqd_t"
        | "key_serial_t" | "rwf_t" => shape(4, true),
        "s64" | "__s64" | "int64_t" | "ssize_t" | "off_t" | "loff_t" | "time_t" | "ktime_t"
        | "ptrdiff_t" | "intptr_t" | "clock_t" | "time64_t" => shape(8, true),
        _ => return None,
    })
}
