//! What skeletons that `kscope bindgen` writes are made of; programs written by hand need it not.

use std::sync::Arc;

use kscope_spec::{MapId, Spec, Variable};

use super::{EventMap, PerCpuMap, TypedConstant, TypedFilter, TypedGlobal, TypedMap, TypedQueue};
use crate::error::Error;
use crate::link::{AttachOutcome, Link};
use crate::loader::{Loader, Object, no_variable};
use crate::map::Map;
use crate::plain::Plain;
use crate::program::Program;

/// Reads the object of a skeleton.
///
/// # Errors
///
/// [`Error::Invalid`] where it is none.
pub fn read(name: &str, bytes: &[u8]) -> Result<Spec, Error> {
    kscope_spec::read::object_named(name, bytes)
        .map_err(|error| Error::invalid(format!("{name} is no eBPF object: {error}")))
}

fn variable<'s>(spec: &'s Spec, name: &str) -> Result<(usize, &'s Variable), Error> {
    let mut known = spec.variables.iter().enumerate();
    let found = known.find(|(_, variable)| variable.name == name);
    found.ok_or_else(|| no_variable(&spec.variables, name))
}

/// Gives the bytes that a variable starts with; those that the object does not have are zero.
fn initial_bytes<'s>(spec: &'s Spec, variable: &Variable) -> &'s [u8] {
    let map = spec.maps.get(variable.map.0 as usize);
    let bytes = map.and_then(|map| map.initial.as_deref());
    let rest = bytes.and_then(|bytes| bytes.get(variable.offset as usize..));
    let rest = rest.unwrap_or_default();
    rest.get(..variable.size as usize).unwrap_or(rest)
}

/// Gives the value that a global variable starts with.
///
/// # Errors
///
/// [`Error::NotFound`], or [`Error::Invalid`] where the type has another size.
pub fn initial<T: Plain>(spec: &Spec, name: &str) -> Result<T, Error> {
    let (_, variable) = variable(spec, name)?;
    if variable.size as usize != T::SIZE {
        return Err(Error::invalid(format!(
            "{name} has {} bytes, not {}: the skeleton was made of another object",
            variable.size,
            T::SIZE
        )));
    }
    Ok(T::decode(initial_bytes(spec, variable)))
}

/// Sets a global variable before the load, unless it is to start as the object says.
#[must_use]
pub fn set<'a, T: Plain>(loader: Loader<'a>, spec: &Spec, name: &str, value: &T) -> Loader<'a> {
    let bytes = value.to_bytes();
    let same = variable(spec, name).is_ok_and(|(_, variable)| {
        let initial = initial_bytes(spec, variable).iter().copied();
        initial
            .chain(std::iter::repeat(0))
            .zip(&bytes)
            .all(|(old, &new)| old == new)
    });
    match same {
        true => loader,
        false => loader.global(name, &bytes),
    }
}

/// Gives a global variable that programs write.
///
/// # Errors
///
/// As [`TypedGlobal::new`].
pub fn global<T: Plain>(
    spec: &Spec,
    object: &Arc<Object>,
    name: &str,
) -> Result<TypedGlobal<T>, Error> {
    TypedGlobal::new(object, variable(spec, name)?.0)
}

/// Gives a constant.
///
/// # Errors
///
/// As [`TypedConstant::new`].
pub fn constant<T: Plain>(
    spec: &Spec,
    object: &Arc<Object>,
    name: &str,
) -> Result<TypedConstant<T>, Error> {
    TypedConstant::new(object, variable(spec, name)?.0)
}

fn map_id(spec: &Spec, name: &str) -> Result<MapId, Error> {
    spec.map_named(name)
        .ok_or_else(|| Error::not_found("map", name))
}

/// What a map of an object becomes: a typed one.
pub trait FromMap: Sized {
    /// Gives the map its types.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the map is of another kind, or other sizes.
    fn from_map(map: Map) -> Result<Self, Error>;
}

impl FromMap for Map {
    fn from_map(map: Map) -> Result<Map, Error> {
        Ok(map)
    }
}

impl FromMap for EventMap {
    fn from_map(map: Map) -> Result<EventMap, Error> {
        EventMap::new(map)
    }
}

macro_rules! from_map {
    ($($name:ident<$($parameter:ident),*>)*) => {
        $(impl<$($parameter: Plain),*> FromMap for $name<$($parameter),*> {
            fn from_map(map: Map) -> Result<Self, Error> {
                $name::new(map)
            }
        })*
    };
}

from_map!(TypedMap<K, V> PerCpuMap<K, V> TypedQueue<V> TypedFilter<V>);

/// Gives a map.
///
/// # Errors
///
/// Why it is not there.
pub fn map<M: FromMap>(spec: &Spec, object: &Object, name: &str) -> Result<M, Error> {
    let id = map_id(spec, name)?;
    let failure = || {
        let mut failures = object.map_failures();
        let failed = failures.find(|(failed, _)| *failed == id);
        failed.map_or_else(
            || Error::invalid(format!("map {name} was left out of this load")),
            |(_, error)| error.clone(),
        )
    };
    M::from_map(object.map(id).cloned().ok_or_else(failure)?)
}

/// Gives a map that the load may have gone on without.
pub fn optional_map<M: FromMap>(spec: &Spec, object: &Object, name: &str) -> Option<M> {
    map(spec, object, name).ok()
}

/// Gives a program.
///
/// # Errors
///
/// Why it is not there.
pub fn program(spec: &Spec, object: &Object, name: &str) -> Result<Program, Error> {
    let id = spec.program_named(name);
    let id = id.ok_or_else(|| Error::not_found("program", name))?;
    object.program(id).cloned()
}

/// Gives a program that the load may have gone on without.
pub fn optional_program(spec: &Spec, object: &Object, name: &str) -> Option<Program> {
    program(spec, object, name).ok()
}

/// Attaches a program as its section says; none where the section does not say to what.
///
/// # Errors
///
/// What the kernel says.
pub fn attach(object: &Object, program: &Program) -> Result<Option<Link>, Error> {
    match object.attach_program(program) {
        AttachOutcome::Attached(link) => Ok(Some(link)),
        AttachOutcome::NeedsTarget { .. } => Ok(None),
        AttachOutcome::Failed(error) => Err(error),
    }
}

/// Attaches a program that the load may have gone on without.
///
/// # Errors
///
/// What the kernel says.
pub fn attach_optional(object: &Object, program: &Option<Program>) -> Result<Option<Link>, Error> {
    match program {
        Some(program) => attach(object, program),
        None => Ok(None),
    }
}

/// Attaches a table of functions.
///
/// # Errors
///
/// As [`Object::attach_table`].
pub fn attach_table(spec: &Spec, object: &Object, name: &str) -> Result<Option<Link>, Error> {
    object.attach_table(map_id(spec, name)?).map(Some)
}

/// Attaches a table of functions that the load may have gone on without.
///
/// # Errors
///
/// As [`Object::attach_table`].
pub fn attach_optional_table(
    spec: &Spec,
    object: &Object,
    name: &str,
) -> Result<Option<Link>, Error> {
    let id = map_id(spec, name)?;
    match object.map(id) {
        Some(_) => object.attach_table(id).map(Some),
        None => Ok(None),
    }
}
