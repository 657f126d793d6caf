//! A plan in an object, and put together again with what the object's reader makes of the rest.

use std::fmt;

use kscope_spec::insn::{Insn, Reg, Size};
use kscope_spec::{LateId, LateValue, MapId, MapSpec, RelocKind, Spec};

use super::wire::{Damage, Reader, Wire};
use super::{LATE_SECTION, MAPS_SECTION};
use crate::compile::Compiled;
use crate::plan::{EventMap, PLAN_VERSION, Plan};

/// Section of the plan; other loaders skip it, as it takes no memory.
pub const SECTION: &str = ".kscope";

const MAGIC: &[u8; 4] = b"KSCP";
/// Bytes before the plan: the magic number, and the version as a little-endian `u32`.
const HEADER: usize = 8;

/// What an object needs beside its programs and maps to be run as the script that it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// The plan.
    pub plan: Plan,
    /// The late values, in the order of their numbers.
    pub late: Vec<LateValue>,
    /// Names of the maps by their numbers in the plan; of maps that are sections, the section's.
    pub maps: Vec<String>,
    /// Names of the programs by their numbers in the plan.
    pub programs: Vec<String>,
    /// Name of the script.
    pub name: String,
    /// The script.
    pub source: String,
}

/// Why an object is not run as a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedError {
    /// A later kscope built it.
    Newer {
        /// The version of its plan.
        version: u32,
    },
    /// An earlier kscope built it, in a way that is no longer read.
    Older {
        /// The version of its plan.
        version: u32,
    },
    /// The section is damaged.
    Damaged {
        /// Offset in bytes into the section.
        offset: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The plan speaks of what the object does not have.
    Foreign {
        /// What is missing.
        what: String,
    },
}

impl SavedError {
    /// Says what can be done about it.
    #[must_use]
    pub fn way_out(&self) -> &'static str {
        match self {
            SavedError::Newer { .. } => {
                "run it with the kscope that built it, or build the script again with this one; \
                 libbpf loads its programs all the same"
            }
            SavedError::Older { .. } => "build the script again with this kscope",
            SavedError::Damaged { .. } | SavedError::Foreign { .. } => {
                "the object was changed after it was built: build the script again"
            }
        }
    }
}

impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SavedError::Newer { version } => write!(
                f,
                "it was built by a newer kscope: its plan is of version {version}, this kscope \
                 knows those up to {PLAN_VERSION}"
            ),
            SavedError::Older { version } => write!(
                f,
                "it was built by an older kscope: its plan is of version {version}, this kscope \
                 reads version {PLAN_VERSION}"
            ),
            SavedError::Damaged { offset, expected } => write!(
                f,
                "its section {SECTION} is damaged: {expected} is expected at byte {offset}"
            ),
            SavedError::Foreign { what } => {
                write!(f, "its plan does not fit its programs: {what}")
            }
        }
    }
}

impl std::error::Error for SavedError {}

impl From<Damage> for SavedError {
    fn from(damage: Damage) -> SavedError {
        SavedError::Damaged {
            offset: damage.offset,
            expected: damage.what,
        }
    }
}

impl Saved {
    /// Writes the section.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.plan.version.to_le_bytes());
        self.plan.put(&mut out);
        self.late.put(&mut out);
        self.maps.put(&mut out);
        self.programs.put(&mut out);
        self.name.put(&mut out);
        self.source.put(&mut out);
        out
    }

    /// Reads the section.
    ///
    /// # Errors
    /// Where its version is another, or its bytes are damaged.
    pub fn parse(bytes: &[u8]) -> Result<Saved, SavedError> {
        let damaged = |offset, expected| SavedError::Damaged { offset, expected };
        let magic = bytes.get(..4).filter(|magic| magic == MAGIC);
        magic.ok_or(damaged(0, "KSCP"))?;
        let version = bytes.get(4..).and_then(<[u8]>::first_chunk::<4>);
        let version = version.ok_or(damaged(4, "the version of the plan"))?;
        let version = u32::from_le_bytes(*version);
        match version.cmp(&PLAN_VERSION) {
            std::cmp::Ordering::Greater => return Err(SavedError::Newer { version }),
            std::cmp::Ordering::Less => return Err(SavedError::Older { version }),
            std::cmp::Ordering::Equal => {}
        }
        let mut reader = Reader::new(bytes, HEADER);
        let from = &mut reader;
        let saved = Saved {
            plan: Wire::take(from)?,
            late: Wire::take(from)?,
            maps: Wire::take(from)?,
            programs: Wire::take(from)?,
            name: Wire::take(from)?,
            source: Wire::take(from)?,
        };
        match reader.is_at_end() {
            true => Ok(saved),
            false => Err(reader.damage("the end of the section").into()),
        }
    }

    /// Puts the plan together with the programs and maps of its object. Late values are written
    /// into the instructions again, as in a script that was just compiled.
    ///
    /// # Errors
    /// [`SavedError::Foreign`] where they do not fit together.
    pub fn join(self, mut spec: Spec) -> Result<Compiled, SavedError> {
        let mut plan = self.plan;
        let foreign = |what: String| SavedError::Foreign { what };
        let map = |old: &mut MapId| {
            let name = self.maps.get(old.0 as usize);
            let name = name.ok_or_else(|| foreign(format!("there is no map {}", old.0)))?;
            let found = spec.maps.iter().position(|map| key(map) == name);
            let found = found.ok_or_else(|| foreign(format!("there is no map {name}")))?;
            *old = MapId(found as u32);
            Ok::<(), SavedError>(())
        };
        for one in &mut plan.maps {
            map(&mut one.map)?;
        }
        let service = &mut plan.service;
        let own = [
            &mut service.counters,
            &mut service.exit,
            &mut service.kernel_stacks,
            &mut service.user_stacks,
            &mut service.options,
        ];
        for one in own.into_iter().flatten() {
            map(one)?;
        }
        if let Some(EventMap::Ring(one) | EventMap::Perf(one)) = &mut service.events {
            map(one)?;
        }
        for probe in &mut plan.probes {
            let name = self.programs.get(probe.program.0 as usize);
            let found = name.and_then(|name| spec.program_named(name));
            let missing = || foreign(format!("there is no program for {}", probe.name));
            probe.program = found.ok_or_else(missing)?;
        }
        check(&plan, self.late.len()).map_err(foreign)?;
        restore_late(&mut spec, self.late).map_err(foreign)?;
        // What the user is told of the script's lines quotes the script.
        for file in spec.files.iter_mut().filter(|file| file.name == self.name) {
            file.text = kscope_spec::SourceText::Whole(self.source.clone());
        }
        Ok(Compiled { spec, plan })
    }
}

/// Looks whether what the plan refers to is there.
fn check(plan: &Plan, late: usize) -> Result<(), String> {
    use crate::plan::SiteKind;
    let maps = plan.maps.len();
    for site in &plan.sites {
        let (SiteKind::PrintEntry { map }
        | SiteKind::PrintMap { map, .. }
        | SiteKind::MapFull { map }
        | SiteKind::Clear { map }
        | SiteKind::Zero { map }) = site.kind
        else {
            continue;
        };
        if map as usize >= maps {
            return Err(format!("there is no map {map} to print"));
        }
    }
    let options = plan.options.len();
    let mut when = plan.probes.iter().flat_map(|probe| &probe.when);
    if let Some(bad) = when.find(|when| when.option as usize >= options) {
        return Err(format!("there is no option {}", bad.option));
    }
    let bad = plan.options.iter().find(|o| o.late.0 as usize >= late);
    match bad {
        Some(option) => Err(format!("the option {} has no value", option.name)),
        None => Ok(()),
    }
}

/// Makes what is read from the map of late values an immediate of the instruction.
fn restore_late(spec: &mut Spec, late: Vec<LateValue>) -> Result<(), String> {
    let Some(map) = spec.maps.iter().position(|map| map.section == LATE_SECTION) else {
        return match late.is_empty() {
            true => Ok(()),
            false => Err(format!("there is no section {LATE_SECTION}")),
        };
    };
    let id = MapId(map as u32);
    for program in &mut spec.programs {
        for reloc in &mut program.relocs {
            let RelocKind::MapValue { map, offset } = reloc.kind else {
                continue;
            };
            if map != id {
                continue;
            }
            let number = offset / 8;
            let at = reloc.insn as usize;
            let three = program.insns.get_mut(at..);
            let three = three.and_then(<[Insn]>::first_chunk_mut::<3>);
            let known = offset % 8 == 0 && (number as usize) < late.len();
            match three {
                Some([first, second, load]) if known && reads(first, load) => {
                    let dst = Reg(first.dst);
                    [*first, *second] = Insn::ld_imm64(dst, 0);
                    *load = Insn::mov64(dst, dst);
                    reloc.kind = RelocKind::Late(LateId(number));
                }
                _ => {
                    let name = &program.name;
                    return Err(format!("instruction {at} of {name} reads no late value"));
                }
            }
        }
    }
    // Nothing refers to it any more.
    if map + 1 == spec.maps.len() {
        spec.maps.pop();
        spec.variables.retain(|variable| variable.map != id);
    }
    spec.late = late;
    Ok(())
}

/// Says whether the second instruction loads what the first one's register points to.
fn reads(first: &Insn, load: &Insn) -> bool {
    let reg = Reg(first.dst);
    *load == Insn::ldx(Size::DW, reg, reg, 0)
}

/// Gives what tells a map from all others: its name, or its section's where it is one.
fn key(map: &MapSpec) -> &str {
    match map.section.as_str() {
        "" | MAPS_SECTION => &map.name,
        section => section,
    }
}

impl Compiled {
    /// Gives what an object needs beside its programs to be run as the script again.
    #[must_use]
    pub fn saved(&self, name: &str, source: &str) -> Saved {
        Saved {
            plan: self.plan.clone(),
            late: self.spec.late.clone(),
            maps: self
                .spec
                .maps
                .iter()
                .map(|map| key(map).to_owned())
                .collect(),
            programs: self.spec.programs.iter().map(|p| p.name.clone()).collect(),
            name: name.to_owned(),
            source: source.to_owned(),
        }
    }
}
