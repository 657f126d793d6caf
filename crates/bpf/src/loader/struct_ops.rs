//! Tables of functions for the kernel to call (`struct_ops`): the kernel's layout of them, and the
//! object's contents brought into it.

mod object;

use kscope_btf::{Btf, Kind, Member, Type, TypeId};
use kscope_spec::{ProgramId, StructOps};

use super::kernel_types::{Found, KernelTypes};
use crate::error::Error;

pub(crate) use object::member;

/// Name of the kernel's type around each table.
const PREFIX: &str = "bpf_struct_ops_";

/// What errors call a table.
const TABLE: &str = "table of functions";

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
            let near = types.near(PREFIX, name, Kind::Struct);
            match near.is_empty() {
                false => Error::not_found_near(TABLE, name, near),
                true => Error::unsupported(
                    format!("{TABLE} {name} for programs to fill (struct_ops)"),
                    "a kernel whose BTF has bpf_struct_ops_*",
                ),
            }
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
            let about = format!("{name} in struct {}", self.name);
            let near = self.btf.near_members(TypeId(self.type_id), name, 3);
            match near.is_empty() {
                false => Error::not_found_near("member", about, near),
                true => Error::unsupported(format!("member {about}"), "a newer kernel"),
            }
        })
    }

    /// Lays the object's contents out as the kernel has them; `program` gives the descriptors of
    /// programs that were loaded.
    pub(crate) fn contents(
        &self,
        local: &Btf,
        object: &StructOps,
        program: &dyn Fn(ProgramId) -> Option<i32>,
    ) -> Result<Contents, Error> {
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
                *place = u64::from(fd as u32).to_ne_bytes();
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
        let is_empty = |member: &Member<'_>| {
            let size = self.btf.size_of(member.type_id).unwrap_or(0);
            let inside = value.get(self.data as usize..).unwrap_or_default();
            let bytes = bytes_at(inside, member.bit_offset, size);
            bytes.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0))
        };
        let named = |member: &Member<'_>| is_function(self.btf, member) || member.name == "name";
        let empty = theirs.members().filter(|member| named(member));
        let empty = empty.filter(is_empty).map(|member| member.name.to_owned());
        Ok(Contents {
            type_name: self.name.to_owned(),
            empty: empty.collect(),
            bytes: value,
        })
    }
}

/// What the kernel is given of a table.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    /// The bytes, in the kernel's layout.
    pub(crate) bytes: Vec<u8>,
    type_name: String,
    /// Functions that no program fills, and the name where there is none.
    empty: Vec<String>,
}

impl Contents {
    /// Says what the kernel may miss in a table that it refuses without a word.
    pub(crate) fn incomplete(&self) -> Option<Error> {
        let name = &self.type_name;
        let is_empty = |member: &&&str| self.empty.iter().any(|empty| empty == **member);
        // Of each, one must be there.
        let wanted: Vec<String> = demanded(name)
            .iter()
            .filter(|members| members.iter().filter(is_empty).count() == members.len())
            .map(|members| members.join(" or "))
            .collect();
        if !wanted.is_empty() {
            return Some(Error::invalid(format!(
                "struct {name} is not complete: the kernel wants {}",
                wanted.join(", ")
            )));
        }
        // What it wants of others is not written anywhere but in its code.
        (!self.empty.is_empty()).then(|| {
            Error::invalid(format!(
                "the kernel refuses struct {name}, and does not say why; it may want one of the members \
                 that are empty: {}",
                self.empty.join(", ")
            ))
        })
    }
}

/// What the kernel's own checks of tables ask for (`tcp_validate_congestion_control` of
/// net/ipv4/tcp_cong.c, `bpf_scx_init_member` of kernel/sched/ext.c, `bpf_qdisc_validate` of
/// net/sched/bpf_qdisc.c): of each list one.
fn demanded(type_name: &str) -> &'static [&'static [&'static str]] {
    match type_name {
        "tcp_congestion_ops" => &[
            &["name"],
            &["ssthresh"],
            &["undo_cwnd"],
            &["cong_avoid", "cong_control"],
        ],
        "sched_ext_ops" => &[&["name"]],
        "Qdisc_ops" => &[
            &["enqueue"],
            &["dequeue"],
            &["init"],
            &["reset"],
            &["destroy"],
        ],
        _ => &[],
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kscope_btf::write::Builder;
    use kscope_btf::{Encoding, NewMember};
    use kscope_spec::StructOpsMember;
    use kscope_sys::{Errno, FakeKernel};

    use super::*;

    /// A table `ops` of a number, a function and a name; `around` is what the kernel puts before.
    fn types(around: u32, members: &[&str]) -> (Btf, TypeId) {
        let mut b = Builder::new();
        let int = b.add_int("int", 4, Encoding::Signed);
        let proto = b.add_func_proto(int, &[("x", int)]);
        let function = b.add_ptr(proto);
        let char_type = b.add_int("char", 1, Encoding::Char);
        let name = b.add_array(char_type, int, 8);
        let mut at = 0;
        let members: Vec<NewMember<'_>> = members
            .iter()
            .map(|&member| {
                let (ty, size) = match member {
                    "flags" => (int, 8),
                    "name" => (name, 8),
                    _ => (function, 8),
                };
                at += size;
                NewMember::new(member, ty, (at - size) * 8)
            })
            .collect();
        let ops = b.add_struct("ops", at, &members);
        let inside = [NewMember::new("data", ops, around * 8)];
        b.add_struct("bpf_struct_ops_ops", around + at, &inside);
        (Btf::parse(b.finish()).expect("well formed"), ops)
    }

    fn object(type_id: TypeId, data: Vec<u8>, programs: &[(&str, u32)]) -> StructOps {
        StructOps {
            type_name: "ops".to_owned(),
            type_id: type_id.0,
            data,
            programs: programs
                .iter()
                .map(|&(name, id)| StructOpsMember {
                    name: name.to_owned(),
                    program: ProgramId(id),
                })
                .collect(),
            link: false,
        }
    }

    /// Lays a table out for a kernel of these members, and gives what follows the first 64 bytes.
    fn check(
        ours: &[&str],
        data: Vec<u8>,
        programs: &[(&str, u32)],
        theirs: &[&str],
    ) -> Result<Vec<u8>, String> {
        let (local, type_id) = types(0, ours);
        let (kernel, _) = types(64, theirs);
        let fake = Arc::new(FakeKernel::new(|_| Err(Errno::NOENT)));
        let types = KernelTypes::new(fake, Some(&kernel));
        let table = Table::find(&types, "ops").map_err(|e| e.to_string())?;
        let object = object(type_id, data, programs);
        let fd = |id: ProgramId| (id.0 < 8).then_some(100 + id.0 as i32);
        let bytes = table.contents(&local, &object, &fd);
        let bytes = bytes.map_err(|e| e.to_string())?.bytes;
        assert_eq!(bytes[..64], [0; 64]);
        Ok(bytes[64..].to_vec())
    }

    fn data(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    #[test]
    fn contents_go_where_the_kernel_has_them() {
        let ours = ["flags", "run", "name"];
        let name = u64::from_le_bytes(*b"mine\0\0\0\0");
        let given = data(&[7, 0, name]);
        let run = [("run", 3)];
        let moved = check(
            &ours,
            given.clone(),
            &run,
            &["name", "other", "run", "flags"],
        );
        assert_eq!(moved, Ok(data(&[name, 0, 103, 7])));
        // A program that was not loaded leaves its place empty.
        let absent = check(&ours, given, &[("run", 9)], &ours);
        assert_eq!(absent, Ok(data(&[7, 0, name])));
    }

    #[test]
    fn what_the_kernel_lacks_may_be_empty_alone() {
        let ours = ["flags", "run"];
        let refused = "struct ops: member run is set, but this kernel does not have it";
        let check = |data, programs: &[(&str, u32)]| check(&ours, data, programs, &["flags"]);
        assert_eq!(check(data(&[7, 0]), &[]), Ok(data(&[7])));
        assert_eq!(check(data(&[7, 1]), &[]), Err(refused.to_owned()));
        assert_eq!(check(data(&[7, 0]), &[("run", 1)]), Err(refused.to_owned()));
    }

    #[test]
    fn only_functions_are_programs() {
        let refused = check(&["flags"], data(&[0]), &[("flags", 1)], &["flags"]);
        let expected = "struct ops: member flags is no function in the kernel";
        assert_eq!(refused, Err(expected.to_owned()));
    }

    #[test]
    fn what_a_refused_table_lacks_is_named() {
        let check = |type_name: &str, empty: &[&str], expected: Option<&str>| {
            let contents = Contents {
                bytes: Vec::new(),
                type_name: type_name.to_owned(),
                empty: empty.iter().map(|&name| name.to_owned()).collect(),
            };
            let told = contents.incomplete().map(|error| error.to_string());
            assert_eq!(told.as_deref(), expected, "{type_name} {empty:?}");
        };
        check(
            "tcp_congestion_ops",
            &["undo_cwnd", "cong_control", "init"],
            Some("struct tcp_congestion_ops is not complete: the kernel wants undo_cwnd"),
        );
        check(
            "tcp_congestion_ops",
            &["ssthresh", "cong_avoid", "cong_control"],
            Some(
                "struct tcp_congestion_ops is not complete: the kernel wants ssthresh, cong_avoid or \
                 cong_control",
            ),
        );
        check(
            "ops",
            &["run"],
            Some(
                "the kernel refuses struct ops, and does not say why; it may want one of the members \
                 that are empty: run",
            ),
        );
        check("ops", &[], None);
        // Empty is what no program fills.
        let (local, type_id) = types(0, &["flags", "run", "stop", "name"]);
        let fake = Arc::new(FakeKernel::new(|_| Err(Errno::NOENT)));
        let (kernel, _) = types(64, &["flags", "run", "stop", "name"]);
        let types = KernelTypes::new(fake, Some(&kernel));
        let table = Table::find(&types, "ops").expect("it is there");
        let object = object(type_id, data(&[0, 0, 0, 0]), &[("run", 1)]);
        let contents = table.contents(&local, &object, &|_| Some(9)).expect("fits");
        assert_eq!(contents.empty, ["stop", "name"]);
    }
}
