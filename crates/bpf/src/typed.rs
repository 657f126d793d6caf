//! Maps, variables and events with the types that an object gives them; `kscope bindgen` writes
//! skeletons of these.

mod events;
mod global;
mod map;
pub mod skeleton;

pub use events::{EventMap, Events};
pub use global::{TypedConstant, TypedGlobal};
pub use map::{PerCpuMap, TypedFilter, TypedMap, TypedQueue};

/// Includes the skeleton that a build script's `kscope_bindgen::Builder` made: a module of that
/// name.
///
/// # Examples
///
/// ```ignore
/// // build.rs: kscope_bindgen::Builder::new("src/execsnoop.bpf.c").build();
/// kscope_bpf::include_skeleton!("execsnoop");
///
/// let skeleton = execsnoop::Open::new()?.load()?;
/// ```
#[macro_export]
macro_rules! include_skeleton {
    ($name:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $name, ".skel.rs"));
    };
}
