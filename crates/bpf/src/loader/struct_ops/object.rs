//! Tables of functions of an object: their maps made, filled and attached.

use std::os::fd::{AsFd, AsRawFd};

use kscope_btf::Btf;
use kscope_spec::{MapId, MapSpec, ProgramId, Spec, StructOps};
use kscope_sys::Errno;

use super::{Contents, Table};
use crate::create::{Extras, create};
use crate::error::Error;
use crate::link::{AttachOutcome, Attachment, Link};
use crate::loader::Loader;
use crate::loader::attach::AttachPoint;
use crate::loader::kernel_types::KernelTypes;
use crate::loader::object::{Object, ProgramState};
use crate::map::Map;

/// Flags of maps of functions.
const LINK: u32 = 1 << 13;
const MODULE_TYPE: u32 = 1 << 15;

/// Finds what a program for a member of a table attaches to.
pub(crate) fn member<'a>(
    types: &'a KernelTypes<'_>,
    type_name: &str,
    member: &str,
) -> Result<AttachPoint<'a>, Error> {
    let table = Table::find(types, type_name)?;
    Ok(AttachPoint {
        attach_type: table.member(member)?,
        btf_id: table.type_id,
        to: table.module.and_then(|module| types.fd_of_module(module)),
    })
}

impl Loader<'_> {
    /// Makes the map of a table.
    pub(in crate::loader) fn new_table(
        &self,
        map: &MapSpec,
        table: &StructOps,
        extras: Extras<'_>,
        types: &KernelTypes<'_>,
    ) -> Result<Map, Error> {
        let layout = Table::find(types, &table.type_name)?;
        let mut extras = extras;
        extras.kernel_value_type = layout.wrapper;
        extras.module_btf = layout.module.and_then(|module| types.fd_of_module(module));
        if extras.btf.is_none() {
            return Err(Error::unsupported(
                format!(
                    "place for the types of the object, which map {} needs",
                    map.name
                ),
                "the option CONFIG_DEBUG_INFO_BTF",
            ));
        }
        let mut map = map.clone();
        map.initial = None;
        map.key_size = 4;
        map.value_size = layout.size;
        map.max_entries = 1;
        map.key_type = 0;
        map.value_type = 0;
        if table.link {
            map.flags |= LINK;
        }
        if extras.module_btf.is_some() {
            map.flags |= MODULE_TYPE;
        }
        create(&self.kernel, &map, &extras)
    }
}

impl Object {
    /// Lays out the tables of functions, for the kernel to take when they are attached.
    pub(in crate::loader) fn with_tables(
        mut self,
        spec: &Spec,
        local: Option<&Btf>,
        types: &KernelTypes<'_>,
    ) -> Object {
        for (index, map) in (0..).zip(&spec.maps) {
            let (Some(table), Some(local)) = (&map.struct_ops, local) else {
                continue;
            };
            if self.map(MapId(index)).is_none() {
                continue;
            }
            let program = |id: ProgramId| {
                let state = self.programs.get(id.0 as usize);
                state
                    .and_then(ProgramState::program)
                    .map(|p| p.as_fd().as_raw_fd())
            };
            let layout = Table::find(types, &table.type_name);
            match layout.and_then(|layout| layout.contents(local, table, &program)) {
                Ok(contents) => {
                    self.tables.push((MapId(index), contents));
                }
                Err(error) => self.unfilled.push(error),
            }
        }
        self
    }

    /// Gives the bytes that make the kernel take a table of functions (a map of kind struct_ops):
    /// written to its entry 0 they register it, or make it ready for a link. They hold descriptors
    /// of this object's programs.
    pub fn table(&self, id: MapId) -> Option<&[u8]> {
        self.contents(id).map(|contents| &*contents.bytes)
    }

    fn contents(&self, id: MapId) -> Option<&Contents> {
        let table = self.tables.iter().find(|(known, _)| *known == id);
        table.map(|(_, contents)| contents)
    }

    /// Gives the maps that are tables of functions, in the spec's order.
    fn tables(&self) -> Vec<MapId> {
        self.tables.iter().map(|(id, _)| *id).collect()
    }

    /// Makes the kernel use a table of functions, with this object's programs; see
    /// [`Map::attach_struct_ops`].
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for another map; [`Error::Invalid`] with the members that are missing,
    /// where the kernel takes none without them; else as [`Map::attach_struct_ops`].
    pub fn attach_table(&self, id: MapId) -> Result<Link, Error> {
        let both = self.map(id).zip(self.contents(id));
        let (map, contents) =
            both.ok_or_else(|| Error::not_found("table of functions", id.0.to_string()))?;
        let attached = map.attach_struct_ops(&contents.bytes);
        attached.map_err(|error| match error.errno() {
            Some(Errno::INVAL) => contents.incomplete().unwrap_or(error),
            _ => error,
        })
    }

    /// Attaches every table.
    pub(crate) fn attach_tables(&self) -> Vec<Attachment> {
        let tables = self.tables().into_iter().map(|id| Attachment {
            program: self.map(id).map(Map::name).unwrap_or_default().to_owned(),
            section: ".struct_ops".to_owned(),
            outcome: match self.attach_table(id) {
                Ok(link) => AttachOutcome::Attached(link),
                Err(error) => AttachOutcome::Failed(error),
            },
        });
        tables.collect()
    }
}
