//! One program: fitted, patched, loaded.

use std::cell::OnceCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use kscope_btf::Btf;
use kscope_spec::core::{self, Relocated};
use kscope_spec::{ExternId, LateId, MapId, ProgramSpec, Spec};
use kscope_sys::{Errno, ProgramLoad};

use super::Loader;
use super::attach::attach_point;
#[cfg(feature = "exclusive")]
use super::exclusive::{Unmade, digest};
use super::externs::Externs;
use super::kernel_types::KernelTypes;
use super::object::MapState;
use super::refusal::{Log, Refused, text};
use crate::error::{Absent, Error};
#[cfg(feature = "late")]
use crate::late::LateSources;
use crate::log::VerifierLog;
use crate::object_btf::Records;
use crate::patch::{self, External, Target};
use crate::program::Program;

/// What the programs of one object are filled with.
pub(super) struct Filling<'a> {
    loader: &'a Loader<'a>,
    spec: &'a Spec,
    local: Option<&'a Btf>,
    maps: &'a [MapState],
    externs: &'a Externs<'a>,
    types: &'a KernelTypes<'a>,
    /// Where CO-RE relocations look, made when the first program has one.
    target: OnceCell<Option<core::Target<'a>>>,
    /// Late values, each found out when the first program asks for it.
    #[cfg(feature = "late")]
    late: Vec<OnceCell<Result<u64, Error>>>,
}

impl<'a> Filling<'a> {
    pub(super) fn new(
        loader: &'a Loader<'a>,
        spec: &'a Spec,
        local: Option<&'a Btf>,
        maps: &'a [MapState],
        externs: &'a Externs<'a>,
        types: &'a KernelTypes<'a>,
    ) -> Filling<'a> {
        Filling {
            loader,
            spec,
            local,
            maps,
            externs,
            types,
            target: OnceCell::new(),
            #[cfg(feature = "late")]
            late: spec.late.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    /// Gives the digest that the program will have.
    #[cfg(feature = "exclusive")]
    pub(super) fn digest(&self, program: &ProgramSpec) -> Result<[u8; 32], Error> {
        let relocated = self.relocated(program)?;
        let insns = relocated.map_or_else(|| program.insns.clone(), |done| done.insns);
        let unmade = Unmade {
            filling: self,
            loader: self.loader,
            spec: self.spec,
        };
        let insns = patch::instructions(program, insns, &unmade)?;
        digest::of_program(&self.loader.kernel, insns)
    }

    /// Loads a program; `info` are the object's types and what belongs to the program in them.
    // Too large to be compiled once more as part of its only caller; so are the others marked like this.
    #[inline(never)]
    pub(super) fn load(
        &self,
        program: &ProgramSpec,
        info: Option<(BorrowedFd<'_>, &Records)>,
    ) -> Result<Program, Error> {
        let loader = self.loader;
        if let Some(why) = &program.refused {
            return Err(Error::invalid(format!("program {}: {why}", program.name)));
        }
        let relocated = self.relocated(program)?;
        let insns = relocated
            .as_ref()
            .map_or(&program.insns, |done| &done.insns);
        let insns = patch::instructions(program, insns.clone(), self)?;
        #[cfg(feature = "extend")]
        let target = loader.extended.get(&program.name);
        #[cfg(not(feature = "extend"))]
        let target = None;
        let point = attach_point(self.types, program, target)?;
        let modules = self.externs.modules();
        let load = |log: Log<'_>| {
            let (log_level, log) = log.level_and_room();
            loader.kernel.program_load(ProgramLoad {
                kind: program.kind as u32,
                name: &program.name,
                insns: &insns,
                license: &self.spec.license,
                flags: program.flags,
                attach_type: point.attach_type,
                attach_btf_id: point.btf_id,
                attach_to: point.to,
                kernel_version: self.spec.version,
                modules: &modules,
                btf: info.map(|(fd, _)| fd),
                func_info: info.map_or(&[], |(_, records)| &records.functions),
                line_info: info.map_or(&[], |(_, records)| &records.lines),
                log_level,
                log,
                ..ProgramLoad::default()
            })
        };
        let begun = Instant::now();
        let (fd, log) = self.attempt(&load);
        let fd = match fd {
            Ok(fd) => fd,
            Err(errno) => {
                let took = begun.elapsed();
                // What a signal stopped has no log worth another attempt.
                loader.go_on()?;
                let refused = Refused {
                    kernel: &*loader.kernel,
                    spec: self.spec,
                    program,
                    #[cfg(feature = "explain")]
                    types: self.types,
                    relocated: relocated.as_ref(),
                    errno,
                    log_bytes: loader.log_bytes,
                    took,
                };
                return Err(refused.why(&load));
            }
        };
        Ok(Program {
            kernel: loader.kernel.clone(),
            fd: Arc::new(fd),
            name: program.name.as_str().into(),
            kind: program.kind,
            attach: Arc::new(program.attach.clone()),
            section: program.section.as_str().into(),
            log,
        })
    }

    /// Loads, with the verifier's log where it was asked for.
    fn attempt(
        &self,
        load: &dyn Fn(Log<'_>) -> Result<OwnedFd, Errno>,
    ) -> (Result<OwnedFd, Errno>, Option<Arc<VerifierLog>>) {
        let Loader {
            kernel,
            log_level: level,
            log_bytes,
            ..
        } = self.loader;
        let mut said = vec![0; if *level == 0 { 0 } else { *log_bytes }];
        let mut once = || match *level {
            0 => load(Log::Nothing),
            level => match load(Log::Level(level, &mut said)) {
                // The log is longer than there is room: better the program than its log.
                Err(Errno::NOSPC) => load(Log::Nothing),
                other => other,
            },
        };
        let fd = match once() {
            // Kernels before 5.11 charge programs to the limit on locked memory.
            Err(Errno::PERM) if kernel.raise_memlock().is_ok() => once(),
            other => other,
        };
        let log = (*level != 0 && fd.is_ok()).then(|| Arc::new(VerifierLog::parse(&text(&said))));
        (fd, log)
    }

    /// Fits a program to the target's types; none for one that does not depend on them.
    fn relocated(&self, program: &ProgramSpec) -> Result<Option<Relocated>, Error> {
        let Some(local) = self.local.filter(|_| !program.core.is_empty()) else {
            return match program.core.is_empty() {
                true => Ok(None),
                false => Err(Error::invalid(format!(
                    "program {} depends on the target's types, but the object has none of its own",
                    program.name
                ))),
            };
        };
        let target = self.target.get_or_init(|| self.open_target()).as_ref();
        let target = target.ok_or_else(|| {
            Error::unsupported(
                "BTF, which the object is to be fitted to (another can be given with \
                 Loader::target)",
                "the build option CONFIG_DEBUG_INFO_BTF",
            )
        })?;
        let done = core::relocate(self.spec, program, local, target);
        if let Some(failure) = done.refusal() {
            return Err(Error::Unresolved {
                program: program.name.clone(),
                absent: Box::new(Absent::Relocation(failure.clone())),
                log: Box::default(),
            });
        }
        Ok(Some(done))
    }

    fn open_target(&self) -> Option<core::Target<'a>> {
        if let Some(given) = self.loader.target {
            return Some(core::Target::new(given).called("given BTF"));
        }
        let base = core::Target::new(self.types.base()?);
        let types = self.types;
        Some(base.with_modules(move || types.all_modules()))
    }
}

impl Target for Filling<'_> {
    fn map(&self, map: MapId) -> Result<Option<i32>, Error> {
        match self.maps.get(map.0 as usize) {
            Some(MapState::Made { map, .. }) => Ok(Some(map.as_fd().as_raw_fd())),
            Some(MapState::LeftOut) => Ok(None),
            Some(MapState::Failed(error)) => Err(error.copied()),
            None => Err(Error::invalid("a relocation names a map past the last")),
        }
    }

    fn value(&self, map: MapId, offset: u32) -> Result<(), Error> {
        self.externs.value(map, offset)
    }

    #[cfg(not(feature = "late"))]
    fn late(&self, _: LateId) -> Result<u64, Error> {
        Err(Error::left_out("values of compiled scripts", "late"))
    }

    #[cfg(feature = "late")]
    fn late(&self, late: LateId) -> Result<u64, Error> {
        let index = late.0 as usize;
        let late = self.spec.late.get(index).zip(self.late.get(index));
        let (late, known) =
            late.ok_or_else(|| Error::invalid("a relocation names no late value"))?;
        let sources = LateSources {
            kernel: &*self.loader.kernel,
            numbers: &self.loader.numbers,
            symbols: self.loader.symbols,
            near_symbols: self.loader.near_symbols,
        };
        match known.get_or_init(|| sources.value(late)) {
            Ok(value) => Ok(*value),
            Err(error) => Err(error.copied()),
        }
    }

    fn external(&self, external: ExternId) -> Result<Option<External>, Error> {
        self.externs.resolve(external)
    }
}
