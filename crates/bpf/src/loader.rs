//! From a spec to objects of a kernel.

mod attach;
#[cfg_attr(not(feature = "exclusive"), path = "loader/without_exclusive.rs")]
mod exclusive;
mod externs;
mod global;
#[cfg(feature = "kconfig")]
mod kconfig;
mod kernel_types;
mod maps;
mod object;
mod pin;
mod program;
mod refusal;
#[cfg_attr(not(feature = "struct_ops"), path = "loader/without_struct_ops.rs")]
mod struct_ops;

use std::fmt;
use std::path::PathBuf;

use kscope_btf::Btf;
use kscope_spec::{ByteOrder, ProgramId, ProgramSpec, Spec};
#[cfg(feature = "late")]
use kscope_spec::{LateKind, LineInfo, Reloc, RelocKind};
use kscope_sys::SharedKernel;

use crate::error::Error;
#[cfg(feature = "late")]
use crate::late::{KERNEL_SYMBOL, NearSymbols};
#[cfg(feature = "late")]
use crate::log::place_of;
use crate::map::Map;
use crate::named::Named;
use crate::object_btf::LoadedBtf;
#[cfg(feature = "extend")]
use crate::program::Program;
use crate::program::ProgramError;
#[cfg(feature = "token")]
use crate::token::{Token, USUAL};
#[cfg(feature = "multi")]
pub(crate) use attach::traces_many;
use externs::Externs;
#[cfg(feature = "typed")]
pub(crate) use global::no_variable;
pub use global::{Global, GlobalValue};
#[cfg(feature = "kconfig")]
use kconfig::KernelConfig;
#[cfg(feature = "kconfig")]
pub use kconfig::build_option;
pub(crate) use kernel_types::KernelTypes;
#[cfg(feature = "extend")]
pub(crate) use kernel_types::copied;
pub use object::Object;
use object::{MapState, ProgramState};
use program::Filling;

/// Makes kernel objects of a [`Spec`].
#[derive(Clone)]
pub struct Loader<'a> {
    kernel: SharedKernel,
    btf: Option<&'a Btf>,
    target: Option<&'a Btf>,
    symbols: Option<SymbolResolver<'a>>,
    #[cfg(feature = "late")]
    near_symbols: Option<NearSymbols<'a>>,
    #[cfg(feature = "late")]
    numbers: Named<u64>,
    all_or_nothing: bool,
    log_level: u32,
    log_bytes: usize,
    only: Option<Named<()>>,
    /// Programs and maps that are loaded although they are optional.
    also: Named<()>,
    /// Programs and maps that are not loaded.
    left_out: Named<()>,
    maps: Named<Map>,
    /// Maps of one program alone, with the program's name.
    #[cfg(feature = "exclusive")]
    exclusive: Named<String>,
    pin_folder: Option<PathBuf>,
    globals: Vec<(String, Vec<u8>)>,
    #[cfg(feature = "extend")]
    extended: Named<Program>,
    #[cfg(feature = "kconfig")]
    config: Option<Vec<u8>>,
    stop: Option<&'a dyn Fn() -> bool>,
    /// Whether a BPF token is looked for where the kernel refuses.
    #[cfg(feature = "token")]
    finds_token: bool,
}

/// Gives the address of a kernel symbol.
pub type SymbolResolver<'a> = &'a dyn Fn(&str) -> Option<u64>;

impl fmt::Debug for Loader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Loader");
        #[cfg(feature = "late")]
        shown.field("numbers", &self.numbers);
        shown.field("only", &self.only).finish_non_exhaustive()
    }
}

impl<'a> Loader<'a> {
    /// Makes a loader for a kernel (see [`kscope_sys::real_kernel`]).
    pub fn new(kernel: SharedKernel) -> Loader<'a> {
        Loader {
            kernel,
            btf: None,
            target: None,
            symbols: None,
            #[cfg(feature = "late")]
            near_symbols: None,
            #[cfg(feature = "late")]
            numbers: Named::default(),
            all_or_nothing: false,
            log_level: 0,
            log_bytes: refusal::LOG_BYTES,
            only: None,
            also: Named::default(),
            left_out: Named::default(),
            maps: Named::default(),
            #[cfg(feature = "exclusive")]
            exclusive: Named::default(),
            pin_folder: None,
            globals: Vec::new(),
            #[cfg(feature = "extend")]
            extended: Named::default(),
            #[cfg(feature = "kconfig")]
            config: None,
            stop: None,
            #[cfg(feature = "token")]
            finds_token: true,
        }
    }

    /// Gives the BPF token to create everything with. Without this one is made of `/sys/fs/bpf`
    /// where the kernel refuses to load without.
    #[cfg(feature = "token")]
    #[must_use]
    pub fn token(mut self, token: &Token) -> Loader<'a> {
        self.kernel = token.kernel();
        self
    }

    /// Loads without a BPF token, even where there would be one.
    #[cfg(feature = "token")]
    #[must_use]
    pub fn without_token(mut self) -> Loader<'a> {
        self.finds_token = false;
        self
    }

    /// Gives the running kernel's types, so that they are not read again. Without this they are
    /// opened when something needs them.
    #[must_use]
    pub fn btf(mut self, btf: Option<&'a Btf>) -> Loader<'a> {
        self.btf = btf;
        self
    }

    /// Gives the types that CO-RE relocations are made for, in place of the running kernel's: for a
    /// kernel that has no BTF of its own.
    #[must_use]
    pub fn target(mut self, btf: &'a Btf) -> Loader<'a> {
        self.target = Some(btf);
        self
    }

    /// Gives the addresses of kernel symbols, for late values of that kind and for symbols that an
    /// object declares without a type. Without this `/proc/kallsyms` is read for the latter.
    #[must_use]
    pub fn symbols(mut self, resolve: SymbolResolver<'a>) -> Loader<'a> {
        self.symbols = Some(resolve);
        self
    }

    /// Gives names of kernel symbols that are near to one that is missing, for the error to name.
    #[cfg(feature = "late")]
    #[must_use]
    pub fn near_symbols(mut self, near: NearSymbols<'a>) -> Loader<'a> {
        self.near_symbols = Some(near);
        self
    }

    /// Gives the text of the kernel's configuration file, for build options that an object asks
    /// for. Without this it is read from `/proc/config.gz` or `/boot`.
    #[cfg(feature = "kconfig")]
    #[must_use]
    pub fn kernel_config(mut self, text: impl Into<Vec<u8>>) -> Loader<'a> {
        self.config = Some(text.into());
        self
    }

    /// Gives a late value of kind [`kscope_spec::LateKind::Number`].
    #[cfg(feature = "late")]
    #[must_use]
    pub fn late(mut self, name: impl Into<String>, value: u64) -> Loader<'a> {
        self.numbers.insert(name.into(), value);
        self
    }

    /// Sets a global variable before the load, constants included.
    #[must_use]
    pub fn global(mut self, name: impl Into<String>, value: &impl GlobalValue) -> Loader<'a> {
        self.globals.push((name.into(), value.to_bytes()));
        self
    }

    /// Loads these programs alone, optional ones too.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, programs: impl IntoIterator<Item = S>) -> Loader<'a> {
        let mut only = Named::default();
        for name in programs {
            only.insert(name.into(), ());
        }
        self.only = Some(only);
        self
    }

    /// Loads a program, or makes a map, although it is optional (`SEC("?…")`).
    #[must_use]
    pub fn with(mut self, name: impl Into<String>) -> Loader<'a> {
        self.also.insert(name.into(), ());
        self
    }

    /// Leaves out a program or a map. A program that may come to use the map is refused; one that
    /// surely does not is loaded.
    #[must_use]
    pub fn without(mut self, name: impl Into<String>) -> Loader<'a> {
        self.left_out.insert(name.into(), ());
        self
    }

    /// Takes a map that is there already for the one of this name, which is not made then.
    #[must_use]
    pub fn map(mut self, name: impl Into<String>, map: &Map) -> Loader<'a> {
        self.maps.insert(name.into(), map.clone());
        self
    }

    /// Gives the folder, in a mounted BPF file system, where maps are that share by name
    /// ([`kscope_spec::Pinning::ByName`]). Without it each object makes its own.
    #[must_use]
    pub fn pin_folder(mut self, folder: impl Into<PathBuf>) -> Loader<'a> {
        self.pin_folder = Some(folder.into());
        self
    }

    /// Says whose function the program `name` takes the place of (`freplace`), or traces (`fentry`
    /// and `fexit` of a program's function).
    #[cfg(feature = "extend")]
    #[must_use]
    pub fn extends(mut self, name: impl Into<String>, target: &Program) -> Loader<'a> {
        self.extended.insert(name.into(), target.clone());
        self
    }

    /// Asks for the verifier's log of programs that are accepted ([`Program::log`]): 2 for each
    /// instruction on all ways with the state before it, 4 for statistics alone; at 1 the kernel
    /// forgets the ways that ended well.
    #[must_use]
    pub fn log_level(mut self, level: u32) -> Loader<'a> {
        self.log_level = level;
        self
    }

    /// Limits the verifier's log to so many bytes, at least 128 as the kernel wants them; 0 for
    /// 16 MB, which hold all but the longest.
    #[must_use]
    pub fn log_bytes(mut self, bytes: u32) -> Loader<'a> {
        self.log_bytes = match bytes as usize {
            0 => refusal::LOG_BYTES,
            bytes => bytes.clamp(128, refusal::LOG_BYTES),
        };
        self
    }

    /// Makes [`Loader::load`] fail with the first map or program that does.
    #[must_use]
    pub fn all_or_nothing(mut self) -> Loader<'a> {
        self.all_or_nothing = true;
        self
    }

    /// Makes [`Loader::load`] fail with [`Error::Interrupted`] once this says so: it is asked before
    /// each program, and after each that was refused.
    #[must_use]
    pub fn stop(mut self, stop: &'a dyn Fn() -> bool) -> Loader<'a> {
        self.stop = Some(stop);
        self
    }

    fn go_on(&self) -> Result<(), Error> {
        match self.stop {
            Some(stop) if stop() => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    /// Creates the maps and loads the programs, each on its own: one that fails is reported in its
    /// place in the object and takes no other with it.
    ///
    /// # Errors
    ///
    /// Where nothing could be loaded because a map could not be made; where a map or program fails
    /// if [`Loader::all_or_nothing`] was asked; where the loader was told of a program or variable
    /// that is not there; [`Error::Interrupted`] where [`Loader::stop`] says so.
    pub fn load(&self, spec: &Spec) -> Result<Object, Error> {
        let loaded = self.load_once(spec);
        #[cfg(feature = "token")]
        let loaded = self.or_with_token(spec, loaded);
        loaded
    }

    /// Loads again with a BPF token where something was refused and there is one.
    #[cfg(feature = "token")]
    fn or_with_token(&self, spec: &Spec, loaded: Result<Object, Error>) -> Result<Object, Error> {
        if !self.finds_token || self.kernel.delegated().is_some() || !is_refused(&loaded) {
            return loaded;
        }
        match Token::create(&self.kernel, USUAL) {
            Ok(token) => self.clone().token(&token).load_once(spec),
            Err(_) => loaded,
        }
    }

    fn load_once(&self, spec: &Spec) -> Result<Object, Error> {
        of_this_machine(spec.byte_order)?;
        let chosen = self.chosen(spec)?;
        let (local, malformed) = match local_types(spec) {
            Ok(local) => (local, None),
            Err(error) => (None, Some(error)),
        };
        let local = local.as_ref();
        let types = KernelTypes::new(self.kernel.clone(), self.btf);
        let mut externs = Externs::new(spec, local, self.kernel.clone(), &types, self.symbols);
        let contents = self.contents_for(spec, &mut externs)?;
        let own = LoadedBtf::load(&*self.kernel, spec, local);
        let filling = Filling::new(self, spec, local, &[], &externs, &types);
        let digests = self.digests(spec, &filling);
        drop(filling);
        let maps = self.make_all(spec, own.fd(), &contents, &digests, &types)?;
        let mut unfilled = maps::fill_with_maps(spec, &maps);
        let filling = Filling::new(self, spec, local, &maps, &externs, &types);
        let programs = self.load_all(spec, &chosen, &filling, &own)?;
        drop(filling);
        if let Some(error) = failure_of_all(&maps, &programs) {
            return Err(error);
        }
        unfilled.extend(maps::fill_with_programs(spec, &maps, &programs));
        let object = Object {
            maps,
            programs,
            variables: spec.variables.clone(),
            types_refused: malformed.or_else(|| own.refused().map(Error::copied)),
            unfilled,
            #[cfg(feature = "struct_ops")]
            tables: Vec::new(),
        };
        Ok(object.with_tables(spec, local, &types))
    }

    /// Loads the programs that are chosen.
    fn load_all(
        &self,
        spec: &Spec,
        chosen: &[bool],
        filling: &Filling<'_>,
        own: &LoadedBtf,
    ) -> Result<Vec<ProgramState>, Error> {
        let mut programs = Vec::with_capacity(spec.programs.len());
        for (index, program) in spec.programs.iter().enumerate() {
            if !chosen.get(index).copied().unwrap_or_default() {
                programs.push(ProgramState::LeftOut(program.name.clone()));
                continue;
            }
            self.go_on()?;
            let loaded = filling.load(program, own.of_program(index));
            if let Err(error) = &loaded {
                if self.all_or_nothing || *error == Error::Interrupted {
                    return Err(error.copied().of_program(&program.name));
                }
            }
            programs.push(match loaded {
                Ok(program) => ProgramState::Loaded(program),
                Err(error) => ProgramState::Failed(Box::new(failed(spec, index, program, error))),
            });
        }
        Ok(programs)
    }

    /// Gives what the maps start with, build options included.
    #[cfg(feature = "kconfig")]
    fn contents_for(
        &self,
        spec: &Spec,
        externs: &mut Externs<'_>,
    ) -> Result<maps::Contents, Error> {
        let given = self.config.as_deref().map(|text| {
            let names: Vec<&str> = spec.externs.iter().map(|e| e.name.as_str()).collect();
            KernelConfig::parse(text, &names)
        });
        let mut contents = self.contents(spec)?;
        externs.write_config(&mut contents, given.as_ref());
        Ok(contents)
    }

    /// Gives what the maps start with.
    #[cfg(not(feature = "kconfig"))]
    fn contents_for(
        &self,
        spec: &Spec,
        externs: &mut Externs<'_>,
    ) -> Result<maps::Contents, Error> {
        externs.write_config();
        self.contents(spec)
    }

    /// Tells which programs are to be loaded.
    fn chosen(&self, spec: &Spec) -> Result<Vec<bool>, Error> {
        let program = |name: &str| spec.program_named(name).is_some();
        let map = |name: &str| spec.map_named(name).is_some();
        if let Some(only) = &self.only {
            only.must_be("program", &program)?;
        }
        let either = |name: &str| program(name) || map(name);
        self.also.must_be("program or map", &either)?;
        self.left_out.must_be("program or map", &either)?;
        self.maps.must_be("map", &map)?;
        #[cfg(feature = "exclusive")]
        self.known_exclusive(spec)?;
        #[cfg(feature = "extend")]
        self.extended.must_be("program", &program)?;
        let chosen = |program: &ProgramSpec| match &self.only {
            Some(only) => only.contains(&program.name),
            None => {
                !self.left_out.contains(&program.name)
                    && (!program.optional || self.also.contains(&program.name))
            }
        };
        Ok(spec.programs.iter().map(chosen).collect())
    }
}

/// Where no program is left and maps are why, the failure of one of these.
fn failure_of_all(maps: &[MapState], programs: &[ProgramState]) -> Option<Error> {
    let refused_maps: Vec<&Error> = maps.iter().filter_map(MapState::failure).collect();
    if programs.iter().any(|program| program.program().is_some()) {
        return None;
    }
    let failure = |program: &ProgramState| match program {
        ProgramState::Failed(failed) => Some(failed.error.clone()),
        _ => None,
    };
    // What a program has of its own tells more.
    let is_own = |error: &Error| match error {
        Error::Permission { .. } | Error::Os { .. } => false,
        error => !refused_maps.contains(&error),
    };
    let failures: Vec<Error> = programs.iter().filter_map(failure).collect();
    if failures.iter().any(is_own) {
        return None;
    }
    // That of a map which a program uses, rather than of another.
    let used = failures.iter().find(|error| refused_maps.contains(error));
    let error = used.or(refused_maps.first().copied())?;
    Some(error.copied())
}

/// Refuses an object for machines of the other byte order: its data and types would be read the wrong
/// way round.
fn of_this_machine(order: ByteOrder) -> Result<(), Error> {
    let host = ByteOrder::HOST;
    match order == host {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "the object is for {order} machines, and this one is {host}: compile it with clang \
             -target {}",
            host.clang_target()
        ))),
    }
}

/// Tells whether anything was refused for want of permission.
#[cfg(feature = "token")]
fn is_refused(loaded: &Result<Object, Error>) -> bool {
    let refused = |error: &Error| matches!(error, Error::Permission { .. });
    match loaded {
        Err(error) => refused(error),
        Ok(object) => {
            object.failures().any(|failed| refused(&failed.error))
                || object.map_failures().any(|(_, error)| refused(error))
        }
    }
}

/// Reads the object's own types.
fn local_types(spec: &Spec) -> Result<Option<Btf>, Error> {
    if spec.types.is_empty() {
        return Ok(None);
    }
    let read = Btf::parse(spec.types.clone()).map(Some);
    read.map_err(|error| Error::invalid(format!("the object's types: {error}")))
}

fn failed(spec: &Spec, index: usize, program: &ProgramSpec, error: Error) -> ProgramError {
    let place = match &error {
        Error::Rejected { log, .. } | Error::Unresolved { log, .. } => log.place(program),
        #[cfg(feature = "late")]
        Error::NotFound { what, name, .. } if *what == KERNEL_SYMBOL => {
            symbol_place(spec, program, name)
        }
        _ => None,
    };
    ProgramError {
        id: ProgramId(u32::try_from(index).unwrap_or(u32::MAX)),
        name: program.name.clone(),
        error,
        file: place
            .and_then(|place| spec.files.get(usize::try_from(place.file).ok()?))
            .map(|file| file.name.clone())
            .unwrap_or_default(),
        place,
    }
}

/// Finds the place in the source of the first instruction that needs a kernel symbol's address.
#[cfg(feature = "late")]
fn symbol_place(spec: &Spec, program: &ProgramSpec, symbol: &str) -> Option<LineInfo> {
    let needs = |reloc: &&Reloc| match reloc.kind {
        RelocKind::Late(late) => spec.late.get(late.0 as usize).is_some_and(
            |late| matches!(&late.kind, LateKind::KernelSymbol(name) if name == symbol),
        ),
        _ => false,
    };
    place_of(program, program.relocs.iter().find(needs)?.insn)
}

#[cfg(test)]
mod tests;
