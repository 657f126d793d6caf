//! Tables of functions for the kernel to call (`struct_ops`): the kernel's layout of them, and the
//! object's contents brought into it.

use kscope_btf::{Btf, Kind, Member, Type, TypeId};
use kscope_spec::{ProgramId, StructOps};

use super::kernel_types::{Found, KernelTypes};
use crate::error::Error;

/// Name of the kernel's type around each table.
const PREFIX: &str = "bpf_struct_ops_";

/// The kernel's layout of a table.
pub(crate) struct Table<'a> {
    /// The kernel's types it is of.
    btf: &'a Btf,
    /// Whose they are.
    pub(crate) module: Option<usize>,
    /// The type around the table, `struct bpf_struct_ops_<name>`.
    pub(crate) wrapper: u32,
    /// Its size in bytes.
    pub(crate) size: u32,
    /// Offset in bytes of the table inside.
    data: u32,
    /// The table's own type.
    pub(crate) type_id: u32,
    name: &'a str,
}

impl<'a> Table<'a> {
    /// Finds the layout of a table. A flavour (`name___v2`) stands for the type without it.
    pub(crate) fn find(types: &'a KernelTypes<'_>, name: &'a str) -> Result<Table<'a>, Error> {
        let name = kscope_btf::essential_name(name);
        let missing = || {
            Error::unsupported(
                format!("table of functions {name} for programs to fill (struct_ops)"),
                "a kernel whose BTF has bpf_struct_ops_*",
            )
        };
        let wrapper_name = format!("{PREFIX}{name}");
        let found = types
            .find(&wrapper_name, Kind::Struct)
            .ok_or_else(missing)?;
        let Found { id, module } = found;
        let btf = types.of(found).ok_or_else(missing)?;
        let wrapper = btf.composite(TypeId(id)).ok_or_else(missing)?;
        let inner = wrapper.members().find(|member| {
            let inner = btf.composite(member.type_id);
            inner.is_some_and(|inner| inner.name == name)
        });
        let inner = inner.ok_or_else(missing)?;
        let type_id = btf.resolve(inner.type_id).ok_or_else(missing)?;
        Ok(Table {
            btf,
            module,
            wrapper: id,
            size: wrapper.size,
            data: inner.bit_offset / 8,
            type_id: type_id.0,
            name,
        })
    }

    /// Finds the number of a member.
    pub(crate) fn member(&self, name: &str) -> Result<u32, Error> {
        let table = self.btf.composite(TypeId(self.type_id));
        let place = table.and_then(|table| table.members().position(|m| m.name == name));
        let place = place.and_then(|place| u32::try_from(place).ok());
        place.ok_or_else(|| {
            Error::unsupported(
                format!("member {name} in struct {}", self.name),
                "a newer kernel",
            )
        })
    }

    /// Lays the object's contents out as the kernel has them; `program` gives the descriptors of
    /// programs that were loaded.
    pub(crate) fn contents(
        &self,
        local: &Btf,
        object: &StructOps,
        program: &dyn Fn(ProgramId) -> Option<i32>,
    ) -> Result<Vec<u8>, Error> {
        let refuse = |member: &str, why: &str| {
            Error::invalid(format!("struct {}: member {member} {why}", self.name))
        };
        let mut value = vec![0; self.size as usize];
        let ours = local
            .composite(TypeId(object.type_id))
            .ok_or_else(|| refuse("", "has no type in the object"))?;
        let theirs = self
            .btf
            .composite(TypeId(self.type_id))
            .ok_or_else(|| refuse("", "has no type in the kernel"))?;
        for our in ours.members() {
            let size = local.size_of(our.type_id).unwrap_or(0);
            let from = bytes_at(&object.data, our.bit_offset, size);
            let taken = object.programs.iter().find(|taken| taken.name == our.name);
            let is_zero = from.is_none_or(|bytes| bytes.iter().all(|&byte| byte == 0));
            let Some(their) = theirs.members().find(|their| their.name == our.name) else {
                // A member that only newer kernels have may stay empty.
                if is_zero && taken.is_none() {
                    continue;
                }
                return Err(refuse(our.name, "is set, but this kernel does not have it"));
            };
            let offset = self.data as usize + their.bit_offset as usize / 8;
            if let Some(taken) = taken {
                if !is_function(self.btf, &their) {
                    return Err(refuse(our.name, "is no function in the kernel"));
                }
                let Some(fd) = program(taken.program) else {
                    continue;
                };
                let place = value
                    .get_mut(offset..)
                    .and_then(<[u8]>::first_chunk_mut::<8>);
                let place = place.ok_or_else(|| refuse(our.name, "lies outside of it"))?;
                *place = u64::from(fd.cast_unsigned()).to_ne_bytes();
                continue;
            }
            if is_zero {
                continue;
            }
            if our.bitfield.is_some() || their.bitfield.is_some() {
                return Err(refuse(our.name, "is a bitfield, which cannot be set"));
            }
            if self.btf.size_of(their.type_id) != Some(size) {
                return Err(refuse(our.name, "has another size in the kernel"));
            }
            let place = value
                .get_mut(offset..)
                .and_then(|rest| rest.get_mut(..size as usize));
            let (Some(place), Some(from)) = (place, from) else {
                return Err(refuse(our.name, "lies outside of it"));
            };
            place.copy_from_slice(from);
        }
        Ok(value)
    }
}

fn bytes_at(data: &[u8], bits: u32, size: u64) -> Option<&[u8]> {
    let size = usize::try_from(size).ok()?;
    data.get(bits as usize / 8..)?.get(..size)
}

/// Tells whether a member is a pointer to a function.
fn is_function(btf: &Btf, member: &Member<'_>) -> bool {
    match btf.get_resolved(member.type_id) {
        Some(Type::Ptr(to)) => matches!(btf.get_resolved(to), Some(Type::FuncProto(_))),
        _ => false,
    }
}
