//! Why a program or a map of an object is refused, in words that name the way out.

use core::fmt;

use crate::object::MapKind;

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    UnknownSection {
        section: String,
        near: Option<&'static str>,
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
                write!(f, "section '{section}' says no type of program")?;
                match near {
                    Some(near) => write!(f, ": did you mean '{near}'?"),
                    None => f.write_str(
                        ": name it after what it attaches to, for example SEC(\"tracepoint/sched/sched_switch\")",
                    ),
                }
            }
            Why::StaticProgram { name, section } => write!(
                f,
                "function '{name}' in section '{section}' is static: leave `static` out of a program"
            ),
            Why::FunctionPlace {
                section,
                offset,
                size,
            } => write!(
                f,
                "its symbol names {size} bytes from byte {offset} of section '{section}', which are not whole instructions of it"
            ),
            Why::FunctionOverlaps {
                section,
                offset,
                other,
            } => write!(
                f,
                "at byte {offset} of section '{section}' it overlaps with function '{other}'"
            ),
            Why::TooLong { slots } => write!(
                f,
                "with the functions that it calls it has {slots} instructions, more than the 1000000 that kernels take"
            ),
            Why::TooMuch => f.write_str(
                "the object's programs with copies of all that they call take too much: have fewer programs in one object",
            ),
            Why::Subprogram { name, why } => write!(f, "in function '{name}': {why}"),
            Why::WithAddends { section } => write!(
                f,
                "section '{section}' has relocations with addends (SHT_RELA): clang and GCC write SHT_REL for eBPF"
            ),
            Why::RelocationPlace {
                section,
                offset,
                symbol,
            } => write!(
                f,
                "relocation against '{symbol}' at byte {offset} of section '{section}' is neither on a call nor on ld_imm64"
            ),
            Why::UnknownSymbol {
                section,
                offset,
                symbol,
            } => write!(
                f,
                "relocation at byte {offset} of section '{section}' is against symbol {symbol}, which does not exist"
            ),
            Why::Undefined { name, call: true } => write!(
                f,
                "function '{name}' is called and defined nowhere: link the object that defines it, or declare a kernel's function with __ksym"
            ),
            Why::Undefined { name, call: false } => write!(
                f,
                "symbol '{name}' is used and defined nowhere: link the object that defines it, or declare it with __ksym or __kconfig (with type information, clang -g)"
            ),
            Why::Common { name } => write!(
                f,
                "symbol '{name}' has no section: give the variable a value, or compile with -fno-common"
            ),
            Why::NoFunction { section, offset } => write!(
                f,
                "it calls or names byte {offset} of section '{section}', where no function begins"
            ),
            Why::NoMap { section, offset } => write!(
                f,
                "it names byte {offset} of section '{section}', where no map is described"
            ),
            Why::NotData { symbol, section } => write!(
                f,
                "it uses '{symbol}' in section '{section}', which is neither of maps nor of data"
            ),
            Why::JumpTable { section } => write!(
                f,
                "it jumps by a table (section '{section}'), which takes a map of type BPF_MAP_TYPE_INSN_ARRAY (Linux 6.19) and is not supported: compile with -fno-jump-tables"
            ),
            Why::DataOffset { section, offset } => write!(
                f,
                "it names byte {offset} of section '{section}', outside of it"
            ),
            Why::NoArena { section } => write!(
                f,
                "variables in section '{section}' need a map of type BPF_MAP_TYPE_ARENA in section '.maps'"
            ),
            Why::CorePlace { section, offset } => write!(
                f,
                "CO-RE relocation at byte {offset} of section '{section}', where no instruction begins"
            ),
            Why::CoreKind(kind) => write!(
                f,
                "CO-RE relocation of kind {kind}, which is newer than this release"
            ),
            Why::CoreAccess(access) => {
                write!(f, "CO-RE relocation with the access '{access}'; like '0:1:2' it must be, of at most 64 numbers")
            }
            Why::ExternSection { name, section } => write!(
                f,
                "external symbol '{name}' of section '{section}' is defined nowhere: link the object that defines it, or declare it with __ksym or __kconfig"
            ),
            Why::ExternNowhere { name } => write!(
                f,
                "external symbol '{name}' is in no section: link the object that defines it, or declare it with __ksym or __kconfig"
            ),
            Why::ConfigFunction { name } => {
                write!(f, "function '{name}' cannot be in .kconfig: declare it with __ksym")
            }
            Why::ConfigType { name } => write!(
                f,
                "'{name}' in .kconfig is of no type that a build option has: bool, char, an integer, enum libbpf_tristate or char[]"
            ),
            Why::ConfigSize => f.write_str("the build options in .kconfig take more than 1 GiB"),
            Why::ExceptionCallback { name } => write!(
                f,
                "its exception callback '{name}' is no global function of the object"
            ),
            Why::DataHasAddress {
                section,
                offset,
                symbol,
                code,
            } => write!(
                f,
                "it uses a variable that holds, at byte {offset} of section '{section}', the address of {} '{symbol}', which no kernel can fill in: {}",
                if *code { "function" } else { "variable" },
                if *code {
                    "call it directly or by a switch"
                } else {
                    "use an array or an index"
                }
            ),
            other => other.of_map(f),
        }
    }
}

impl Why {
    /// Clones it, by code that is compiled once: it is long, and would stand at every use.
    #[inline(never)]
    pub(super) fn copied(&self) -> Why {
        self.clone()
    }

    fn of_map(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoTypes => f.write_str(
                "maps in section '.maps' are described by their types, and the object has none: compile with -g",
            ),
            Why::MapPlace { section, offset } => write!(
                f,
                "its description at byte {offset} of section '{section}' is outside of it, or smaller than its type"
            ),
            Why::MapNotStruct => f.write_str("what describes it is no struct"),
            Why::MapTooManyMembers(count) => {
                write!(f, "its description has {count} members, of which at most 64 make sense")
            }
            Why::MapMember { member, expected } => {
                write!(f, "member '{member}' of its description is not {expected}")
            }
            Why::MapConflict {
                member,
                first,
                second,
            } => write!(
                f,
                "its description gives two sizes of the {member}: {first} and {second}"
            ),
            Why::MapUnknownMember { member, near } => {
                write!(f, "its description has an unknown member '{member}'")?;
                match near {
                    Some(near) => write!(f, ": did you mean '{near}'?"),
                    None => Ok(()),
                }
            }
            Why::MapSizeUnknown { member } => write!(
                f,
                "the type of its {member} has no size: it is only declared in the object"
            ),
            Why::MapNoType => f.write_str("its description has no type: add __uint(type, BPF_MAP_TYPE_…)"),
            Why::MapUnknownType(kind) => {
                write!(
                    f,
                    "it is of type {kind}, and the last that this release knows is {} \
                     (BPF_MAP_TYPE_*): is the number right? Else a newer release may know it",
                    MapKind::ALL.last().map_or(0, |&last| last as u32)
                )
            }
            Why::MapValuesNotLast => {
                f.write_str("'values' must be the last member of its description")
            }
            Why::MapValuesKind(kind) => write!(
                f,
                "'values' is for maps of maps and arrays of programs, and this is of type {kind}; 'type' goes before it"
            ),
            Why::MapInnerInInner => f.write_str("the maps in it cannot be maps of maps themselves"),
            Why::MapInnerPinned => f.write_str("the maps in it cannot be pinned by its description"),
            Why::MapPinning(value) => write!(
                f,
                "its pinning is {value}: LIBBPF_PIN_NONE (0) and LIBBPF_PIN_BY_NAME (1) are known"
            ),
            Why::MapInitialised { section, offset } => write!(
                f,
                "byte {offset} of section '{section}' is not zero: a map's description takes no initial values but those of 'values'"
            ),
            Why::LegacySize {
                section,
                offset,
                size,
            } => write!(
                f,
                "its description of {size} bytes at byte {offset} of section '{section}' is no struct bpf_map_def (20 bytes) or bpf_elf_map (36): describe it in '.maps'"
            ),
            Why::LegacyExtra { section, offset } => write!(
                f,
                "byte {offset} of section '{section}' is not zero, and what it means is not known: describe the map in '.maps'"
            ),
            Why::LegacyInner(id) => {
                write!(f, "the maps in it are those of id {id}, which no map has")
            }
            Why::DataTooLarge { section, size } => {
                write!(f, "section '{section}' has {size} bytes, more than a map can hold")
            }
            Why::SecondArena { first } => {
                write!(f, "an object has one arena at most, and map '{first}' is one")
            }
            Why::SlotPlace { offset, symbol } => write!(
                f,
                "'{symbol}' at byte {offset} of section '.maps' is not in its 'values'"
            ),
            Why::SlotNotMap { symbol } => write!(f, "'{symbol}' in its 'values' is no map in section '.maps'"),
            Why::SlotNotProgram { symbol } => write!(f, "'{symbol}' in its 'values' is no program of the object"),
            Why::SlotKey(size) => write!(
                f,
                "its 'values' have numbers for keys, and its keys are of {size} bytes: they must be of 4"
            ),
            Why::OpsType => f.write_str("its type is no struct with a name"),
            Why::OpsMember { section, offset } => write!(
                f,
                "byte {offset} of section '{section}' holds an address where its type has no member"
            ),
            Why::OpsNotFunction { member } => {
                write!(f, "member '{member}' holds an address and is no pointer to a function")
            }
            Why::OpsNoProgram { member, symbol } => {
                write!(f, "member '{member}' is '{symbol}', which is no program of the object")
            }
            Why::OpsSection {
                member,
                program,
                section,
            } => write!(
                f,
                "member '{member}' is program '{program}' of section '{section}': it must be in SEC(\"struct_ops/…\")"
            ),
            Why::OpsReused {
                program,
                type_name,
                member,
            } => write!(
                f,
                "program '{program}' is member '{member}' of {type_name} already; the kernel checks a program for one member"
            ),
            // All others are of programs.
            _ => Ok(()),
        }
    }
}
