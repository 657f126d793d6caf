//! The objects of libbpf's own tools, cut out of Debian's executables when these tests were built.

use kscope_bpf::spec::{Spec, read};

/// Name and bytes of each; none where the machine that built the tests had no package `libbpf-tools`.
const OBJECTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/libbpf_tools.rs"));

/// What a tool says of a map before it loads its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The map's name.
    pub map: &'static str,
    /// 0 for what the object says.
    pub max_entries: u32,
    /// In bytes; 0 for what the object says.
    pub value_size: u32,
}

/// Stacks of 127 frames.
const STACKS: Size = Size {
    map: "stackmap",
    max_entries: 1024,
    value_size: 127 * 8,
};

/// What tools size before they load, by tool.
const SIZES: &[(&str, &[Size])] = &[
    ("capable", &[STACKS]),
    (
        "cpudist",
        &[
            Size {
                map: "start",
                max_entries: 8192,
                value_size: 0,
            },
            Size {
                map: "hists",
                max_entries: 8192,
                value_size: 0,
            },
        ],
    ),
    ("offcputime", &[STACKS]),
    ("wakeuptime", &[STACKS]),
];

/// The object of one tool.
#[derive(Clone, Copy, Debug)]
pub struct ToolObject {
    /// The tool's name.
    pub name: &'static str,
    /// The object's file.
    pub bytes: &'static [u8],
    /// What the tool sizes.
    pub sizes: &'static [Size],
}

impl ToolObject {
    /// Reads the object, with maps as large as the tool makes them.
    ///
    /// # Panics
    ///
    /// Where the object cannot be read.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let spec = read::object_named(self.name, self.bytes);
        let mut spec = spec.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        for size in self.sizes {
            let mut maps = spec.maps.iter_mut();
            let map = maps.find(|map| map.name == size.map);
            let map = map.unwrap_or_else(|| panic!("{}: no map {}", self.name, size.map));
            if size.max_entries > 0 {
                map.max_entries = size.max_entries;
            }
            if size.value_size > 0 {
                map.value_size = size.value_size;
            }
        }
        spec
    }
}

/// Gives all objects.
///
/// # Errors
///
/// The reason to skip.
pub fn all() -> Result<Vec<ToolObject>, String> {
    if OBJECTS.is_empty() {
        return Err("the machine that built the tests has no libbpf-tools".to_owned());
    }
    let object = |&(name, bytes): &(&'static str, &'static [u8])| ToolObject {
        name,
        bytes,
        sizes: SIZES
            .iter()
            .find_map(|&(tool, sizes)| (tool == name).then_some(sizes))
            .unwrap_or_default(),
    };
    Ok(OBJECTS.iter().map(object).collect())
}

/// Gives the object of one tool.
///
/// # Errors
///
/// The reason to skip.
pub fn one(name: &str) -> Result<ToolObject, String> {
    let mut all = all()?.into_iter();
    let found = all.find(|object| object.name == name);
    found.ok_or_else(|| format!("libbpf-tools has no {name}"))
}
