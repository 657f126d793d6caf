//! Why a relocation failed, as values.

use core::fmt;

use kscope_btf::TypeId;

use crate::object::CoreKind;
use crate::say::say;

/// A relocation that could not be satisfied. Its instruction is made one that the verifier refuses
/// where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Index into [`crate::ProgramSpec::core`].
    pub relocation: usize,
    /// Slot index of the instruction.
    pub insn: u32,
    /// What was asked.
    pub kind: CoreKind,
    /// The object's type.
    pub type_id: TypeId,
    /// Type and members as C says them, with the indices of the object:
    /// `struct task_struct.mm.pgd (0:45:7)`.
    pub access: String,
    /// The source line, where the object tells it.
    pub source: Option<Source>,
    /// What is wrong.
    pub reason: Reason,
    /// The types of that name that do not fit, and why.
    pub candidates: Vec<Rejected>,
}

/// A line of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// Its text, where the object has it.
    pub text: Option<String>,
}

/// A type of the target that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// `vmlinux`, or the module it is of.
    pub owner: String,
    /// The type.
    pub type_id: TypeId,
    /// Its name as C says it.
    pub name: String,
    /// Why it does not fit.
    pub why: Mismatch,
}

/// What is wrong with a relocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The target has no type of that name and kind.
    NoCandidate,
    /// No type of that name fits; [`Failure::candidates`] says why.
    NoneFits,
    /// The target's value is of another size, and reading it with another size would change its
    /// meaning.
    Resized {
        /// Size in bytes in the object.
        from: u32,
        /// Size in bytes in the target.
        to: u32,
    },
    /// The object's type or member does not exist in the object.
    BadAccess(Mismatch),
    /// The object's type has no name to look for.
    Anonymous,
    /// A type of the target cannot be followed; the last of [`Failure::candidates`] says why.
    BadCandidate,
    /// Types of that name have the member at different places.
    AmbiguousOffset {
        /// Offset in bits in the first that fits.
        first: u32,
        /// Offset in bits in another.
        second: u32,
    },
    /// Types of that name give different values.
    AmbiguousValue {
        /// The value of the first that fits.
        first: u64,
        /// The value of another.
        second: u64,
    },
    /// The bitfield lies across more bytes than one load takes.
    WideBitfield,
    /// Only offset and size can be asked of an array's element.
    ArrayElement,
    /// The instruction does not have the value that the object's types give.
    UnexpectedValue {
        /// What it has.
        found: i64,
        /// What the object's types give.
        expected: u64,
    },
    /// The offset does not fit the instruction.
    FarOffset(u64),
    /// The instruction loads or stores another number of bytes than the member has.
    UnexpectedSize {
        /// Bytes of the instruction.
        found: u32,
        /// Bytes of the member.
        expected: u32,
    },
    /// No load or store takes this number of bytes.
    NoSuchSize(u32),
    /// The instruction is none that can be relocated.
    Instruction,
}

impl Reason {
    /// Tells whether the program must be refused. Otherwise it may load if the instruction is never
    /// reached, for example behind a question whether the member exists.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Reason::NoCandidate | Reason::NoneFits | Reason::Resized { .. }
        )
    }
}

/// Why a type does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A structure or union lacks the member.
    NoMember {
        /// The member.
        name: String,
        /// The structure or union inside of the type where it was looked for; none for the type
        /// itself.
        inside: Option<String>,
        /// A member that is spelt nearly so.
        near: Option<String>,
    },
    /// The member's type is of another kind.
    MemberType {
        /// The member.
        name: String,
        /// Its type in the object.
        local: String,
        /// Its type in the target.
        target: String,
    },
    /// A member is looked for in something that has none.
    NoMembers(String),
    /// An element is asked of something that is no array.
    NoArray(String),
    /// The array is shorter.
    Short {
        /// The element asked for.
        index: u32,
        /// Number of elements.
        len: u32,
    },
    /// A member, constant or first index of this number does not exist.
    NoIndex(u32),
    /// A constant is asked of something that is no enumeration.
    NoEnum(String),
    /// The enumeration lacks the constant.
    NoConstant(String),
    /// The types are of different kinds, or something inside of them is.
    Kind,
    /// The definitions differ.
    Differs,
    /// The nesting is deeper than is followed.
    TooDeep,
    /// The object's relocations have together taken all steps that they may.
    Exhausted,
    /// The size of this type is not known, or beyond 32 bits.
    Sizeless(TypeId),
    /// This type does not exist, or what it refers to does not or is itself.
    Malformed(TypeId),
}

impl Mismatch {
    /// Tells whether the comparison broke off, so that nothing is known.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(
            self,
            Mismatch::TooDeep
                | Mismatch::Exhausted
                | Mismatch::Sizeless(_)
                | Mismatch::Malformed(_)
        )
    }
}

impl CoreKind {
    /// Gives the kind's name as libbpf says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CoreKind::FieldByteOffset => "byte_off",
            CoreKind::FieldByteSize => "byte_sz",
            CoreKind::FieldExists => "field_exists",
            CoreKind::FieldSigned => "signed",
            CoreKind::FieldLeftShift => "lshift_u64",
            CoreKind::FieldRightShift => "rshift_u64",
            CoreKind::TypeIdLocal => "local_type_id",
            CoreKind::TypeIdTarget => "target_type_id",
            CoreKind::TypeExists => "type_exists",
            CoreKind::TypeSize => "type_size",
            CoreKind::EnumValueExists => "enumval_exists",
            CoreKind::EnumValue => "enumval_value",
            CoreKind::TypeMatches => "type_matches",
        }
    }

    /// Gives what is asked, in words that go before a member or type.
    fn asked(self) -> &'static str {
        match self {
            CoreKind::FieldByteOffset => "the offset of",
            CoreKind::FieldByteSize | CoreKind::TypeSize => "the size of",
            CoreKind::FieldExists | CoreKind::TypeExists | CoreKind::EnumValueExists => {
                "the existence of"
            }
            CoreKind::FieldSigned => "the sign of",
            CoreKind::FieldLeftShift | CoreKind::FieldRightShift => "the bits of",
            CoreKind::TypeIdLocal | CoreKind::TypeIdTarget => "the type id of",
            CoreKind::EnumValue => "the value of",
            CoreKind::TypeMatches => "a type that matches",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { insn, access, .. } = self;
        say(f, "{} {} (", &[&self.kind.asked(), access])?;
        if let Some(Source { file, line, .. }) = &self.source {
            say(f, "{}:{}, ", &[file, line])?;
        }
        say(f, "instruction {}): {}", &[insn, &self.reason])?;
        for (place, rejected) in self.candidates.iter().enumerate() {
            let before = if place == 0 { ": " } else { "; " };
            say(f, "{}{}", &[&before, rejected])?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rejected {
            name,
            type_id,
            owner,
            why,
        } = self;
        say(f, "{} ({} type {}) {}", &[name, owner, type_id, why])
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoCandidate => f.write_str("the target has no type of this name"),
            Reason::NoneFits => f.write_str("no type of the target fits"),
            Reason::Resized { from, to } => say(
                f,
                "the target has {} bytes there, the object {}; only pointers and unsigned \
                 integers are read with another size",
                &[to, from],
            ),
            Reason::BadAccess(why) => say(f, "the object is malformed: its type {}", &[why]),
            Reason::Anonymous => f.write_str("the object's type has no name to look for"),
            Reason::BadCandidate => f.write_str("a type of the target cannot be followed"),
            Reason::AmbiguousOffset { first, second } => say(
                f,
                "the target has more than one type of this name, with the member at bit {} \
                 and at bit {}",
                &[first, second],
            ),
            Reason::AmbiguousValue { first, second } => say(
                f,
                "the target has more than one type of this name, for which the value is {} \
                 and {}",
                &[first, second],
            ),
            Reason::WideBitfield => {
                f.write_str("the bitfield lies across more than eight bytes of one load")
            }
            Reason::ArrayElement => {
                f.write_str("only offset and size can be asked of an array's element")
            }
            Reason::UnexpectedValue { found, expected } => say(
                f,
                "the instruction has {} where the object's types give {}",
                &[found, expected],
            ),
            Reason::FarOffset(offset) => {
                say(f, "offset {} is too large for a load or store", &[offset])
            }
            Reason::UnexpectedSize { found, expected } => say(
                f,
                "the instruction takes {} bytes of a member of {}",
                &[found, expected],
            ),
            Reason::NoSuchSize(size) => say(
                f,
                "the target has {} bytes there, which no load or store takes",
                &[size],
            ),
            Reason::Instruction => f.write_str("the instruction is none that can be relocated"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::NoMember { name, inside, near } => {
                say(f, "has no member `{}`", &[name])?;
                if let Some(inside) = inside {
                    say(f, " in {}", &[inside])?;
                }
                match near {
                    Some(near) => say(f, ", but `{}`", &[near]),
                    None => Ok(()),
                }
            }
            Mismatch::MemberType {
                name,
                local,
                target,
            } => say(
                f,
                "has `{}` of type `{}` in place of `{}`",
                &[name, target, local],
            ),
            Mismatch::NoMembers(what) => say(f, "has `{}`, which has no members", &[what]),
            Mismatch::NoArray(what) => say(f, "has `{}`, which is no array", &[what]),
            Mismatch::Short { index, len } => {
                say(f, "has {} elements, of which {} is none", &[len, index])
            }
            Mismatch::NoIndex(index) => say(f, "has nothing with number {}", &[index]),
            Mismatch::NoEnum(what) => say(f, "is `{}`, no enumeration", &[what]),
            Mismatch::NoConstant(name) => say(f, "has no constant `{}`", &[name]),
            Mismatch::Kind => f.write_str("is of another kind"),
            Mismatch::Differs => f.write_str("is defined differently"),
            Mismatch::TooDeep => f.write_str("is nested too deep"),
            Mismatch::Exhausted => f.write_str(
                "is not looked at: the object's relocations before it took all of the 16 million steps that \
                 they may take together; split the object into several",
            ),
            Mismatch::Sizeless(id) => say(f, "leads to type {}, whose size is not known", &[id]),
            Mismatch::Malformed(id) => say(f, "leads to type {}, which leads nowhere", &[id]),
        }
    }
}
