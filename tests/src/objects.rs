//! Objects compiled from `programs/objects` and `programs/tools` when these tests were built.

use kscope_bpf::spec::{Spec, read};

/// Name and bytes of each; none where the machine that built the tests had no clang.
const OBJECTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/objects.rs"));

/// Gives the bytes of an object.
///
/// # Errors
///
/// The reason to skip.
pub fn bytes(name: &str) -> Result<&'static [u8], String> {
    let found = OBJECTS.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, bytes)) => Ok(bytes),
        None => Err(format!("{name} was not compiled: clang is missing")),
    }
}

/// Reads an object.
///
/// # Errors
///
/// The reason to skip.
///
/// # Panics
///
/// Where the object cannot be read.
pub fn spec(name: &str) -> Result<Spec, String> {
    let spec = read::object_named(name, bytes(name)?);
    Ok(spec.expect("clang makes well-formed objects"))
}

/// Gives an object's spec to a test, or skips it.
#[macro_export]
macro_rules! object_or_skip {
    ($name:expr) => {
        match $crate::objects::spec($name) {
            Ok(spec) => spec,
            Err(reason) => $crate::skip!("clang", "{reason}"),
        }
    };
}
