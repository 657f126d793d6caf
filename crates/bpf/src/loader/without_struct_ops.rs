//! In place of tables of functions for the kernel to call, in a build without them.

use kscope_btf::Btf;
use kscope_spec::{MapId, MapSpec, Spec, StructOps};

use super::attach::AttachPoint;
use super::kernel_types::KernelTypes;
use super::{Loader, Object};
use crate::create::Extras;
use crate::error::Error;
use crate::link::{Attachment, Link};
use crate::map::Map;

fn left_out<T>() -> Result<T, Error> {
    Err(Error::left_out("tables of functions", "struct_ops"))
}

pub(super) fn member<'a>(_: &KernelTypes<'_>, _: &str, _: &str) -> Result<AttachPoint<'a>, Error> {
    left_out()
}

impl Loader<'_> {
    pub(super) fn new_table(
        &self,
        _: &MapSpec,
        _: &StructOps,
        _: Extras<'_>,
        _: &KernelTypes<'_>,
    ) -> Result<Map, Error> {
        left_out()
    }
}

impl Object {
    /// Fails, as this build was made without tables of functions.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], always.
    pub fn attach_table(&self, _: MapId) -> Result<Link, Error> {
        left_out()
    }

    pub(super) fn with_tables(self, _: &Spec, _: Option<&Btf>, _: &KernelTypes<'_>) -> Object {
        self
    }

    pub(crate) fn attach_tables(&self) -> Vec<Attachment> {
        Vec::new()
    }
}
