//! Why a program or a map of an object is refused, in words that name the way out.

mod maps;

use core::fmt;

use crate::say::say;

/// A reason.
#[cfg_attr(
    not(all(feature = "legacy", feature = "struct_ops")),
    allow(dead_code, reason = "some are of families that may be left out")
)]
pub(super) enum Why {
    UnknownSection {
        section: String,
        near: Option<&'static str>,
    },
    /// A family that was left out of this build.
    #[cfg_attr(
        all(feature = "legacy", feature = "struct_ops"),
        allow(dead_code, reason = "nothing is left out")
    )]
    LeftOut {
        section: String,
        feature: &'static str,
    },
    StaticProgram {
        name: String,
        section: String,
    },
    FunctionPlace {
        section: String,
        offset: u64,
        size: u64,
    },
    FunctionOverlaps {
        section: String,
        offset: u64,
        other: String,
    },
    TooLong {
        slots: usize,
    },
    TooMuch,
    Subprogram {
        name: String,
        why: Box<Why>,
    },
    WithAddends {
        section: String,
    },
    RelocationPlace {
        section: String,
        offset: u64,
        symbol: String,
    },
    UnknownSymbol {
        section: String,
        offset: u64,
        symbol: u32,
    },
    Undefined {
        name: String,
        call: bool,
    },
    Common {
        name: String,
    },
    NoFunction {
        section: String,
        offset: i64,
    },
    NoMap {
        section: String,
        offset: i64,
    },
    NotData {
        symbol: String,
        section: String,
    },
    JumpTable {
        section: String,
    },
    DataOffset {
        section: String,
        offset: i64,
    },
    NoArena {
        section: String,
    },
    CorePlace {
        section: String,
        offset: u32,
    },
    CoreKind(u32),
    CoreAccess(String),
    ExternSection {
        name: String,
        section: String,
    },
    ExternNowhere {
        name: String,
    },
    ConfigFunction {
        name: String,
    },
    ConfigType {
        name: String,
    },
    ConfigSize,
    ExceptionCallback {
        name: String,
    },
    /// One that was said already, and whether it is for the linker.
    Said(String, bool),
    // Maps.
    NoTypes,
    MapPlace {
        section: String,
        offset: u32,
    },
    MapNotStruct,
    MapTooManyMembers(usize),
    MapMember {
        member: String,
        expected: &'static str,
    },
    MapConflict {
        member: &'static str,
        first: u32,
        second: u64,
    },
    MapUnknownMember {
        member: String,
        near: Option<&'static str>,
    },
    MapSizeUnknown {
        member: &'static str,
    },
    MapNoType,
    MapUnknownType(u32),
    MapValuesNotLast,
    MapValuesKind(u32),
    MapInnerInInner,
    MapInnerPinned,
    MapPinning(u32),
    MapInitialised {
        section: String,
        offset: u64,
    },
    LegacySize {
        section: String,
        offset: u64,
        size: u64,
    },
    LegacyExtra {
        section: String,
        offset: u64,
    },
    LegacyInner(u32),
    DataTooLarge {
        section: String,
        size: u64,
    },
    DataHasAddress {
        section: String,
        offset: u64,
        symbol: String,
        code: bool,
    },
    SecondArena {
        first: String,
    },
    SlotPlace {
        offset: u64,
        symbol: String,
    },
    SlotNotMap {
        symbol: String,
    },
    SlotNotProgram {
        symbol: String,
    },
    SlotKey(u32),
    OpsType,
    OpsMember {
        section: String,
        offset: u64,
    },
    OpsNotFunction {
        member: String,
    },
    OpsNoProgram {
        member: String,
        symbol: String,
    },
    OpsSection {
        member: String,
        program: String,
        section: String,
    },
    OpsReused {
        program: String,
        type_name: String,
        member: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::UnknownSection { section, near } => {
                say(f, "section '{}' says no type of program", &[section])?;
                match near {
                    Some(near) => say(f, ": did you mean '{}'?", &[near]),
                    None => f.write_str(
                        ": name it after what it attaches to, for example \
                 SEC(\"tracepoint/sched/sched_switch\")",
                    ),
                }
            }
            Why::LeftOut { section, feature } => say(
                f,
                "section '{}' takes the feature {} of kscope-spec, which this program was \
                 built without",
                &[section, feature],
            ),
            Why::StaticProgram { name, section } => say(
                f,
                "function '{}' in section '{}' is static: leave `static` out of a program",
                &[name, section],
            ),
            Why::FunctionPlace {
                section,
                offset,
                size,
            } => say(
                f,
                "its symbol names {} bytes from byte {} of section '{}', which are not \
                 whole instructions of it",
                &[size, offset, section],
            ),
            Why::FunctionOverlaps {
                section,
                offset,
                other,
            } => say(
                f,
                "at byte {} of section '{}' it overlaps with function '{}'",
                &[offset, section, other],
            ),
            Why::TooLong { slots } => say(
                f,
                "with the functions that it calls it has {} instructions, more than the \
                 1000000 that kernels take",
                &[slots],
            ),
            Why::TooMuch => f.write_str(
                "the object's programs with copies of all that they call take too much: \
                 have fewer programs in one object",
            ),
            Why::Subprogram { name, why } => say(f, "in function '{}': {}", &[name, why]),
            Why::WithAddends { section } => say(
                f,
                "section '{}' has relocations with addends (SHT_RELA): clang and GCC \
                 write SHT_REL for eBPF",
                &[section],
            ),
            Why::RelocationPlace {
                section,
                offset,
                symbol,
            } => say(
                f,
                "relocation against '{}' at byte {} of section '{}' is neither on a call \
                 nor on ld_imm64",
                &[symbol, offset, section],
            ),
            Why::UnknownSymbol {
                section,
                offset,
                symbol,
            } => say(
                f,
                "relocation at byte {} of section '{}' is against symbol {}, which does \
                 not exist",
                &[offset, section, symbol],
            ),
            Why::Undefined { name, call: true } => say(
                f,
                "function '{}' is called and defined nowhere: link the object that \
                 defines it, or declare a kernel's function with __ksym",
                &[name],
            ),
            Why::Undefined { name, call: false } => say(
                f,
                "symbol '{}' is used and defined nowhere: link the object that defines \
                 it, or declare it with __ksym or __kconfig (with type information, clang \
                 -g)",
                &[name],
            ),
            Why::Common { name } => say(
                f,
                "symbol '{}' has no section: give the variable a value, or compile with \
                 -fno-common",
                &[name],
            ),
            Why::NoFunction { section, offset } => say(
                f,
                "it calls or names byte {} of section '{}', where no function begins",
                &[offset, section],
            ),
            Why::NoMap { section, offset } => say(
                f,
                "it names byte {} of section '{}', where no map is described",
                &[offset, section],
            ),
            Why::NotData { symbol, section } => say(
                f,
                "it uses '{}' in section '{}', which is neither of maps nor of data",
                &[symbol, section],
            ),
            Why::JumpTable { section } => say(
                f,
                "it jumps by a table (section '{}'), which takes a map of type \
                 BPF_MAP_TYPE_INSN_ARRAY (Linux 6.19) and is not supported: compile with \
                 -fno-jump-tables",
                &[section],
            ),
            Why::DataOffset { section, offset } => say(
                f,
                "it names byte {} of section '{}', outside of it",
                &[offset, section],
            ),
            Why::NoArena { section } => say(
                f,
                "variables in section '{}' need a map of type BPF_MAP_TYPE_ARENA in \
                 section '.maps'",
                &[section],
            ),
            Why::CorePlace { section, offset } => say(
                f,
                "CO-RE relocation at byte {} of section '{}', where no instruction begins",
                &[offset, section],
            ),
            Why::CoreKind(kind) => say(
                f,
                "CO-RE relocation of kind {}, which is newer than this release",
                &[kind],
            ),
            Why::CoreAccess(access) => say(
                f,
                "CO-RE relocation with the access '{}'; like '0:1:2' it must be, of at \
                 most 64 numbers",
                &[access],
            ),
            Why::ExternSection { name, section } => say(
                f,
                "external symbol '{}' of section '{}' is defined nowhere: link the object \
                 that defines it, or declare it with __ksym or __kconfig",
                &[name, section],
            ),
            Why::ExternNowhere { name } => say(
                f,
                "external symbol '{}' is in no section: link the object that defines it, \
                 or declare it with __ksym or __kconfig",
                &[name],
            ),
            Why::ConfigFunction { name } => say(
                f,
                "function '{}' cannot be in .kconfig: declare it with __ksym",
                &[name],
            ),
            Why::ConfigType { name } => say(
                f,
                "'{}' in .kconfig is of no type that a build option has: bool, char, an \
                 integer, enum libbpf_tristate or char[]",
                &[name],
            ),
            Why::ConfigSize => f.write_str("the build options in .kconfig take more than 1 GiB"),
            Why::ExceptionCallback { name } => say(
                f,
                "its exception callback '{}' is no global function of the object",
                &[name],
            ),
            Why::DataHasAddress {
                section,
                offset,
                symbol,
                code,
            } => say(
                f,
                "it uses a variable that holds, at byte {} of section '{}', the address \
                 of {} '{}', which no kernel can fill in: {}",
                &[
                    offset,
                    section,
                    &(if *code { "function" } else { "variable" }),
                    symbol,
                    &(if *code {
                        "call it directly or by a switch"
                    } else {
                        "use an array or an index"
                    }),
                ],
            ),
            Why::Said(text, _) => f.write_str(text),
            other => other.of_map(f),
        }
    }
}

impl Why {
    /// Says whether linking with another object may take it away.
    pub(super) fn is_for_the_linker(&self) -> bool {
        matches!(
            self,
            Why::Undefined { .. }
                | Why::ExternSection { .. }
                | Why::ExternNowhere { .. }
                | Why::Said(_, true)
        )
    }

    /// Gives it once more, for another function or program.
    pub(super) fn copied(&self) -> Why {
        Why::Said(self.to_string(), self.is_for_the_linker())
    }
}
