//! Global variables of an object as cells: set before load, read and written at run time.

use std::sync::OnceLock;

use kscope_spec::Variable;
use kscope_sys::MapValues;

use crate::error::Error;
use crate::map::{Map, UpdateMode};
use crate::plain::Plain;

/// A value that lies in memory as it is here: [`Plain`] ones, and bytes of any number.
pub trait GlobalValue: Sized {
    /// Gives its bytes.
    fn to_bytes(&self) -> Vec<u8>;
    /// Makes it of bytes; none where there are too many or too few.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl<T: Plain> GlobalValue for T {
    fn to_bytes(&self) -> Vec<u8> {
        Plain::to_bytes(self)
    }

    fn from_bytes(bytes: &[u8]) -> Option<T> {
        (bytes.len() == T::SIZE).then(|| T::decode(bytes))
    }
}

impl GlobalValue for Vec<u8> {
    fn to_bytes(&self) -> Vec<u8> {
        self.clone()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }
}

/// A global variable of a loaded object.
///
/// Reads and writes go through mapped memory where the kernel lets the variable's map be mapped,
/// one byte, word or number at a time; elsewhere through the whole value of the map, so that what
/// a program writes to the same section between reading and writing is lost.
#[derive(Clone, Copy, Debug)]
pub struct Global<'a> {
    pub(super) map: &'a Map,
    pub(super) memory: Option<&'a MapValues>,
    pub(super) variable: &'a Variable,
    pub(super) frozen: bool,
}

impl Global<'_> {
    /// Gives the variable's name.
    pub fn name(&self) -> &str {
        &self.variable.name
    }

    /// Gives its size in bytes.
    pub fn size(&self) -> usize {
        self.variable.size as usize
    }

    /// Gives its type in [`kscope_spec::Spec::types`]; 0 for none.
    pub fn type_id(&self) -> u32 {
        self.variable.type_id
    }

    /// Tells whether it is mapped, so that reading and writing are no system calls.
    pub fn is_mapped(&self) -> bool {
        self.memory.is_some()
    }

    /// Reads its bytes.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        let at = self.variable.offset as usize;
        let mut bytes = vec![0; self.size()];
        if let Some(memory) = self.memory {
            return match memory.read(at, &mut bytes) {
                Some(()) => Ok(bytes),
                None => Err(self.outside()),
            };
        }
        let value = self.map.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
        let found = value.get(at..).and_then(|rest| rest.get(..self.size()));
        found.map(<[u8]>::to_vec).ok_or_else(|| self.outside())
    }

    /// Writes its bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another number of bytes, or a constant; else what the kernel says.
    pub fn set_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        if self.frozen {
            return Err(Error::invalid(format!(
                "{} is a constant: it can be set before the load alone (Loader::global)",
                self.name()
            )));
        }
        sized(self.variable, bytes)?;
        let at = self.variable.offset as usize;
        if let Some(memory) = self.memory {
            return memory.write(at, bytes).ok_or_else(|| self.outside());
        }
        let key = 0u32.to_ne_bytes();
        let mut value = self.map.lookup(&key)?.unwrap_or_default();
        let place = value
            .get_mut(at..)
            .and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or_else(|| self.outside())?.copy_from_slice(bytes);
        self.map.update(&key, &value, UpdateMode::Any)
    }

    /// Reads its value.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the type has another size; else what the kernel says.
    pub fn get<T: GlobalValue>(&self) -> Result<T, Error> {
        let bytes = self.bytes()?;
        T::from_bytes(&bytes).ok_or_else(|| {
            Error::invalid(format!(
                "{} has {} bytes, another number than what is asked for",
                self.name(),
                bytes.len()
            ))
        })
    }

    /// Writes its value.
    ///
    /// # Errors
    ///
    /// As [`Global::set_bytes`].
    pub fn set(&self, value: &impl GlobalValue) -> Result<(), Error> {
        self.set_bytes(&value.to_bytes())
    }

    fn outside(&self) -> Error {
        Error::invalid(format!("{} lies outside of its map", self.name()))
    }
}

/// Checks the size of a variable's new value.
pub(super) fn sized(variable: &Variable, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() == variable.size as usize {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} has {} bytes, not {}",
        variable.name,
        variable.size,
        bytes.len()
    )))
}

/// The mapped values of a section's map, made when somebody first asks.
#[derive(Debug, Default)]
pub(super) struct Memory(OnceLock<Option<MapValues>>);

impl Memory {
    pub(super) fn of(&self, map: &Map, writable: bool) -> Option<&MapValues> {
        let make = || map.kernel().map_values(map.fd(), writable).ok();
        self.0.get_or_init(make).as_ref()
    }
}

/// Says that there is no such variable.
#[cfg(feature = "explain")]
pub(crate) fn no_variable(variables: &[Variable], name: &str) -> Error {
    let names = variables.iter().map(|variable| &*variable.name);
    Error::not_found_near("global variable", name, kscope_btf::nearest(name, names, 3))
}

#[cfg(not(feature = "explain"))]
pub(crate) fn no_variable(_: &[Variable], name: &str) -> Error {
    Error::not_found("global variable", name)
}
