//! Reasons that are of maps, sections of variables and tables of functions.

use core::fmt;

use super::Why;
use crate::object::MapKind;
use crate::say::say;

impl Why {
    /// Says why a map is refused, or what of a section of variables or a table of functions is wrong.
    pub(super) fn of_map(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoTypes => f.write_str(
                "maps in section '.maps' are described by their types, and the object has \
                 none: compile with -g",
            ),
            Why::MapPlace { section, offset } => say(
                f,
                "its description at byte {} of section '{}' is outside of it, or smaller \
                 than its type",
                &[offset, section],
            ),
            Why::MapNotStruct => f.write_str("what describes it is no struct"),
            Why::MapTooManyMembers(count) => say(
                f,
                "its description has {} members, of which at most 64 make sense",
                &[count],
            ),
            Why::MapMember { member, expected } => say(
                f,
                "member '{}' of its description is not {}",
                &[member, expected],
            ),
            Why::MapConflict {
                member,
                first,
                second,
            } => say(
                f,
                "its description gives two sizes of the {}: {} and {}",
                &[member, first, second],
            ),
            Why::MapUnknownMember { member, near } => {
                say(f, "its description has an unknown member '{}'", &[member])?;
                match near {
                    Some(near) => say(f, ": did you mean '{}'?", &[near]),
                    None => Ok(()),
                }
            }
            Why::MapSizeUnknown { member } => say(
                f,
                "the type of its {} has no size: it is only declared in the object",
                &[member],
            ),
            Why::MapNoType => {
                f.write_str("its description has no type: add __uint(type, BPF_MAP_TYPE_…)")
            }
            Why::MapUnknownType(kind) => say(
                f,
                "it is of type {}, and the last that this release knows is {} \
                     (BPF_MAP_TYPE_*): is the number right? Else a newer release may know it",
                &[kind, &(MapKind::ALL.last().map_or(0, |&last| last as u32))],
            ),
            Why::MapValuesNotLast => {
                f.write_str("'values' must be the last member of its description")
            }
            Why::MapValuesKind(kind) => say(
                f,
                "'values' is for maps of maps and arrays of programs, and this is of type \
                 {}; 'type' goes before it",
                &[kind],
            ),
            Why::MapInnerInInner => f.write_str("the maps in it cannot be maps of maps themselves"),
            Why::MapInnerPinned => {
                f.write_str("the maps in it cannot be pinned by its description")
            }
            Why::MapPinning(value) => say(
                f,
                "its pinning is {}: LIBBPF_PIN_NONE (0) and LIBBPF_PIN_BY_NAME (1) are \
                 known",
                &[value],
            ),
            Why::MapInitialised { section, offset } => say(
                f,
                "byte {} of section '{}' is not zero: a map's description takes no \
                 initial values but those of 'values'",
                &[offset, section],
            ),
            Why::LegacySize {
                section,
                offset,
                size,
            } => say(
                f,
                "its description of {} bytes at byte {} of section '{}' is no struct \
                 bpf_map_def (20 bytes) or bpf_elf_map (36): describe it in '.maps'",
                &[size, offset, section],
            ),
            Why::LegacyExtra { section, offset } => say(
                f,
                "byte {} of section '{}' is not zero, and what it means is not known: \
                 describe the map in '.maps'",
                &[offset, section],
            ),
            Why::LegacyInner(id) => say(
                f,
                "the maps in it are those of id {}, which no map has",
                &[id],
            ),
            Why::DataTooLarge { section, size } => say(
                f,
                "section '{}' has {} bytes, more than a map can hold",
                &[section, size],
            ),
            Why::SecondArena { first } => say(
                f,
                "an object has one arena at most, and map '{}' is one",
                &[first],
            ),
            Why::SlotPlace { offset, symbol } => say(
                f,
                "'{}' at byte {} of section '.maps' is not in its 'values'",
                &[symbol, offset],
            ),
            Why::SlotNotMap { symbol } => say(
                f,
                "'{}' in its 'values' is no map in section '.maps'",
                &[symbol],
            ),
            Why::SlotNotProgram { symbol } => say(
                f,
                "'{}' in its 'values' is no program of the object",
                &[symbol],
            ),
            Why::SlotKey(size) => say(
                f,
                "its 'values' have numbers for keys, and its keys are of {} bytes: they \
                 must be of 4",
                &[size],
            ),
            Why::OpsType => f.write_str("its type is no struct with a name"),
            Why::OpsMember { section, offset } => say(
                f,
                "byte {} of section '{}' holds an address where its type has no member",
                &[offset, section],
            ),
            Why::OpsNotFunction { member } => say(
                f,
                "member '{}' holds an address and is no pointer to a function",
                &[member],
            ),
            Why::OpsNoProgram { member, symbol } => say(
                f,
                "member '{}' is '{}', which is no program of the object",
                &[member, symbol],
            ),
            Why::OpsSection {
                member,
                program,
                section,
            } => say(
                f,
                "member '{}' is program '{}' of section '{}': it must be in \
                 SEC(\"struct_ops/…\")",
                &[member, program, section],
            ),
            Why::OpsReused {
                program,
                type_name,
                member,
            } => say(
                f,
                "program '{}' is member '{}' of {} already; the kernel checks a program \
                 for one member",
                &[program, member, type_name],
            ),
            // All others are of programs.
            _ => Ok(()),
        }
    }
}
