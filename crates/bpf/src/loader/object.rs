//! What came of a spec on a kernel.

use kscope_spec::{MapId, ProgramId, Variable};

use super::global::{Global, Memory, no_variable};
#[cfg(feature = "struct_ops")]
use super::struct_ops::Contents;
use crate::error::Error;
use crate::map::Map;
use crate::program::{Program, ProgramError};

/// The maps and programs that came of a spec.
#[derive(Debug)]
pub struct Object {
    pub(super) maps: Vec<MapState>,
    pub(super) programs: Vec<ProgramState>,
    pub(super) variables: Vec<Variable>,
    pub(super) types_refused: Option<Error>,
    pub(super) unfilled: Vec<Error>,
    #[cfg(feature = "struct_ops")]
    /// What the kernel is given of tables of functions, by their maps, ascending.
    pub(super) tables: Vec<(MapId, Contents)>,
}

/// What became of a map.
#[derive(Debug)]
pub(super) enum MapState {
    /// It is there.
    Made {
        map: Map,
        frozen: bool,
        /// Whether its values may be mapped.
        mappable: bool,
        memory: Memory,
    },
    /// It was left out.
    LeftOut,
    /// It could not be made.
    Failed(Error),
}

impl MapState {
    /// Gives the reason why it could not be made.
    pub(super) fn failure(&self) -> Option<&Error> {
        match self {
            MapState::Failed(error) => Some(error),
            MapState::Made { .. } | MapState::LeftOut => None,
        }
    }

    pub(super) fn map(&self) -> Option<&Map> {
        match self {
            MapState::Made { map, .. } => Some(map),
            MapState::LeftOut | MapState::Failed(_) => None,
        }
    }
}

/// What became of a program.
#[derive(Debug)]
pub(super) enum ProgramState {
    /// It was loaded.
    Loaded(Program),
    /// It was left out; its name.
    LeftOut(String),
    /// It was refused.
    Failed(Box<ProgramError>),
}

impl ProgramState {
    pub(super) fn program(&self) -> Option<&Program> {
        match self {
            ProgramState::Loaded(program) => Some(program),
            ProgramState::LeftOut(_) | ProgramState::Failed(_) => None,
        }
    }
}

impl Object {
    /// Gives the maps that were made, in the spec's order.
    pub fn maps(&self) -> impl Iterator<Item = &Map> {
        self.maps.iter().filter_map(MapState::map)
    }

    /// Gives a map of the spec.
    pub fn map(&self, id: MapId) -> Option<&Map> {
        self.maps.get(id.0 as usize).and_then(MapState::map)
    }

    /// Finds a map by name.
    pub fn map_named(&self, name: &str) -> Option<&Map> {
        self.maps().find(|map| map.name() == name)
    }

    /// Gives the reasons why maps could not be made; the programs that use them have failed.
    pub fn map_failures(&self) -> impl Iterator<Item = (MapId, &Error)> {
        let maps = (0..).map(MapId).zip(&self.maps);
        maps.filter_map(|(id, state)| Some((id, state.failure()?)))
    }

    /// Gives a program of the spec, or why it was not loaded.
    ///
    /// # Errors
    ///
    /// The program's own error; [`Error::Invalid`] for an id past the last, or a program that was
    /// left out.
    pub fn program(&self, id: ProgramId) -> Result<&Program, Error> {
        match self.programs.get(id.0 as usize) {
            Some(ProgramState::Loaded(program)) => Ok(program),
            Some(ProgramState::Failed(failed)) => Err(failed.named()),
            Some(ProgramState::LeftOut(name)) => Err(Error::invalid(format!(
                "program {name} was left out of this load"
            ))),
            None => Err(Error::invalid(format!("there is no program {}", id.0))),
        }
    }

    /// Finds a loaded program by name.
    pub fn program_named(&self, name: &str) -> Option<&Program> {
        self.programs().find(|program| program.name() == name)
    }

    /// Gives the programs that were loaded.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter().filter_map(ProgramState::program)
    }

    /// Gives the programs that failed, with the reasons; those left out are not among them.
    pub fn failures(&self) -> impl Iterator<Item = &ProgramError> {
        self.programs.iter().filter_map(|program| match program {
            ProgramState::Failed(failed) => Some(&**failed),
            ProgramState::Loaded(_) | ProgramState::LeftOut(_) => None,
        })
    }

    /// Tells why the kernel took none of the object's types, if so. Programs that can do without
    /// are loaded all the same.
    pub fn types_refused(&self) -> Option<&Error> {
        self.types_refused.as_ref()
    }

    /// Gives the reasons why entries of maps of maps and of programs stayed empty.
    pub fn unfilled(&self) -> &[Error] {
        &self.unfilled
    }

    /// Gives the global variables.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Finds a global variable by name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or why the map of its section is not there.
    pub fn global(&self, name: &str) -> Result<Global<'_>, Error> {
        let index = self.variables.iter().position(|known| known.name == name);
        let index = index.ok_or_else(|| no_variable(&self.variables, name))?;
        self.global_at(index)
    }

    /// Gives the global variable at this place in [`Object::variables`].
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or why the map of its section is not there.
    pub fn global_at(&self, index: usize) -> Result<Global<'_>, Error> {
        let variable = self.variables.get(index);
        let variable =
            variable.ok_or_else(|| Error::not_found("global variable", index.to_string()))?;
        match self.maps.get(variable.map.0 as usize) {
            Some(MapState::Made {
                map,
                frozen,
                mappable,
                memory,
            }) => Ok(Global {
                map,
                memory: match mappable {
                    true => memory.of(map, !frozen),
                    false => None,
                },
                variable,
                frozen: *frozen,
            }),
            Some(MapState::Failed(error)) => Err(error.copied()),
            Some(MapState::LeftOut) | None => {
                Err(Error::not_found("map of the variable", &*variable.name))
            }
        }
    }
}
