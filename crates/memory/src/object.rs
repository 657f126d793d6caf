//! Typed places in kernel memory: members by name, bitfields, pointers, arrays.

use core::fmt;

use kscope_btf::{Array, Btf, Kind, Type, TypeId};

use crate::{GapAt, Memory, VirtAddr};

/// Deepest path of members: `a.b.c` is three.
const DEEPEST: usize = 32;

/// What is wrong with a question to a typed place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// Its bytes cannot be read.
    Gap(GapAt),
    /// The kernel has no structure, union or typedef of this name.
    NoType(String),
    /// A structure has no such member.
    NoMember {
        /// The structure's name; empty where it has none.
        of: String,
        /// The member asked for.
        member: String,
    },
    /// The type is not what the question needs.
    NotA {
        /// What is needed: "pointer", "number", "array".
        what: &'static str,
        /// The name of the type that is there.
        is: String,
    },
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectError::Gap(gap) => gap.fmt(f),
            ObjectError::NoType(name) => write!(f, "this kernel has no type {name}"),
            ObjectError::NoMember { of, member } => {
                write!(f, "this kernel's {of} has no member {member}")
            }
            ObjectError::NotA { what, is } => write!(f, "{is} is no {what}"),
        }
    }
}

impl std::error::Error for ObjectError {}

impl From<GapAt> for ObjectError {
    fn from(gap: GapAt) -> ObjectError {
        ObjectError::Gap(gap)
    }
}

/// Where a member is inside of a structure: looked up once, used for many objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldAt {
    /// Offset in bytes from the begin of the structure.
    pub offset: u64,
    /// Its type as declared.
    pub type_id: TypeId,
    /// First bit, counted from the lowest of the byte at `offset`, and width of a bitfield.
    pub bits: Option<(u32, u32)>,
}

impl FieldAt {
    /// Finds a member by its path from a structure, such as `thread.sp`; a path goes through
    /// structures inside of each other and through array elements (`mem[0].base`), never through
    /// pointers.
    ///
    /// # Errors
    /// Where a part of the path does not exist.
    pub fn find(btf: &Btf, of: TypeId, path: &str) -> Result<FieldAt, ObjectError> {
        let mut at = FieldAt {
            offset: 0,
            type_id: of,
            bits: None,
        };
        for (depth, part) in path.split('.').enumerate() {
            let missing = |of| ObjectError::NoMember {
                of: name_of(btf, of),
                member: part.to_owned(),
            };
            if depth >= DEEPEST {
                return Err(missing(of));
            }
            let (name, indices) = match part.split_once('[') {
                Some((name, rest)) => (name, Some(rest)),
                None => (part, None),
            };
            let field = btf
                .member(at.type_id, name)
                .ok_or_else(|| missing(at.type_id))?;
            at = at.within(field.bit_offset, field.type_id, field.bitfield);
            for index in indices.into_iter().flat_map(|rest| rest.split('[')) {
                let index = index.strip_suffix(']').and_then(|i| i.parse().ok());
                let (element, size, len) = element_of(btf, at.type_id)?;
                let offset = index
                    .filter(|&i: &u64| len == 0 || i < len)
                    .and_then(|i| i.checked_mul(size))
                    .and_then(|o| at.offset.checked_add(o))
                    .ok_or_else(|| missing(at.type_id))?;
                at.offset = offset;
                at.type_id = element;
            }
        }
        Ok(at)
    }

    /// Finds a member of a structure, union or typedef by their names.
    ///
    /// # Errors
    /// Where there is no such type or no such member.
    pub fn of(btf: &Btf, name: &str, path: &str) -> Result<FieldAt, ObjectError> {
        FieldAt::find(btf, type_named(btf, name)?, path)
    }

    fn within(self, bit_offset: u32, type_id: TypeId, bitfield: Option<u32>) -> FieldAt {
        FieldAt {
            offset: self.offset.saturating_add(u64::from(bit_offset / 8)),
            type_id,
            bits: bitfield.map(|width| (bit_offset % 8, width)),
        }
    }
}

/// A place in kernel memory and the type of what is there.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    memory: &'a dyn Memory,
    btf: &'a Btf,
    type_id: TypeId,
    addr: VirtAddr,
    bits: Option<(u32, u32)>,
}

impl<'a> Object<'a> {
    /// Takes the place at `addr` as one of the type `type_id`.
    #[must_use]
    pub fn new(
        memory: &'a dyn Memory,
        btf: &'a Btf,
        type_id: TypeId,
        addr: VirtAddr,
    ) -> Object<'a> {
        Object {
            memory,
            btf,
            type_id,
            addr,
            bits: None,
        }
    }

    /// Takes the place at `addr` as a structure, union or typedef of this name.
    ///
    /// # Errors
    /// Where the kernel has no such type.
    pub fn named(
        memory: &'a dyn Memory,
        btf: &'a Btf,
        name: &str,
        addr: VirtAddr,
    ) -> Result<Object<'a>, ObjectError> {
        Ok(Object::new(memory, btf, type_named(btf, name)?, addr))
    }

    /// Gives its address.
    #[must_use]
    pub fn addr(&self) -> VirtAddr {
        self.addr
    }

    /// Gives its type, as declared.
    #[must_use]
    pub fn type_id(&self) -> TypeId {
        self.type_id
    }

    /// Tells whether it is only some bits of its type.
    #[must_use]
    pub fn is_bitfield(&self) -> bool {
        self.bits.is_some()
    }

    /// Gives the size of its type in bytes.
    ///
    /// # Errors
    /// Where the type has none.
    pub fn size(&self) -> Result<u64, ObjectError> {
        self.btf
            .size_of(self.type_id)
            .ok_or_else(|| self.not_a("type with a size"))
    }

    /// Gives a member, by a path as [`FieldAt::find`] takes it. A pointer is followed before its
    /// first member, as `->` does.
    ///
    /// # Errors
    /// Where there is no such member, or a pointer on the way cannot be read.
    pub fn member(&self, path: &str) -> Result<Object<'a>, ObjectError> {
        let start = match self.btf.get_resolved(self.type_id) {
            Some(Type::Ptr(_)) => self.deref()?,
            _ => *self,
        };
        let field = FieldAt::find(self.btf, start.type_id, path)?;
        start.field(field)
    }

    /// Gives a member that was looked up before.
    ///
    /// # Errors
    /// Where its address is past the last one.
    pub fn field(&self, field: FieldAt) -> Result<Object<'a>, ObjectError> {
        Ok(Object {
            addr: self.after(field.offset)?,
            type_id: field.type_id,
            bits: field.bits,
            ..*self
        })
    }

    /// Gives what a pointer points to.
    ///
    /// # Errors
    /// Where it is no pointer or cannot be read.
    pub fn deref(&self) -> Result<Object<'a>, ObjectError> {
        let to = self.btf.pointee(self.type_id);
        let to = to.ok_or_else(|| self.not_a("pointer"))?;
        let addr = VirtAddr(self.memory.read_u64(self.addr)?);
        Ok(Object::new(self.memory, self.btf, to, addr))
    }

    /// Gives an element of an array; of a pointer, of what it points to.
    ///
    /// # Errors
    /// Where it is neither, the array is shorter, or the pointer cannot be read.
    pub fn index(&self, index: u64) -> Result<Object<'a>, ObjectError> {
        let (start, element, size) = match self.btf.get_resolved(self.type_id) {
            Some(Type::Ptr(_)) => {
                let first = self.deref()?;
                (first, first.type_id, first.size()?)
            }
            _ => {
                let (element, size, len) = element_of(self.btf, self.type_id)?;
                // An array of no elements is the open end of a structure.
                if len != 0 && index >= len {
                    return Err(self.not_a("array with so many elements"));
                }
                (*self, element, size)
            }
        };
        let offset = index.checked_mul(size);
        let offset = offset.ok_or_else(|| self.not_a("array with so many elements"))?;
        Ok(Object {
            addr: start.after(offset)?,
            type_id: element,
            bits: None,
            ..*self
        })
    }

    /// Gives the structure `name` whose member `path` this place is.
    ///
    /// # Errors
    /// Where there is no such structure or member.
    pub fn container(&self, name: &str, path: &str) -> Result<Object<'a>, ObjectError> {
        let type_id = type_named(self.btf, name)?;
        let field = FieldAt::find(self.btf, type_id, path)?;
        let addr = VirtAddr(self.addr.0.wrapping_sub(field.offset));
        Ok(Object::new(self.memory, self.btf, type_id, addr))
    }

    /// Takes the same place as another type.
    ///
    /// # Errors
    /// Where the kernel has no such type.
    pub fn cast(&self, name: &str) -> Result<Object<'a>, ObjectError> {
        Object::named(self.memory, self.btf, name, self.addr)
    }

    /// Reads a number, enumeration or pointer; a signed one is extended to 64 bits.
    ///
    /// # Errors
    /// Where it is none of these or cannot be read.
    pub fn value(&self) -> Result<u64, ObjectError> {
        let shape = self.btf.int_shape(self.type_id);
        let shape = shape.filter(|s| s.size <= 8);
        let shape = shape.ok_or_else(|| self.not_a("number"))?;
        let (shift, width) = self.bits.unwrap_or((0, shape.size * 8));
        // A bitfield may begin in one byte and end eight further.
        let bytes = (shift + width).div_ceil(8).min(9) as usize;
        let mut raw = [0u8; 16];
        self.memory.read(self.addr, &mut raw[..bytes])?;
        let wide = u128::from_le_bytes(raw) >> shift;
        let width = width.clamp(1, 64);
        let value = wide as u64 & (u64::MAX >> (64 - width));
        let unused = 64 - width;
        Ok(if shape.signed {
            (((value << unused) as i64) >> unused) as u64
        } else {
            value
        })
    }

    /// Reads a number with a sign.
    ///
    /// # Errors
    /// As [`Object::value`].
    pub fn signed(&self) -> Result<i64, ObjectError> {
        self.value().map(|v| v as i64)
    }

    /// Reads a pointer, or a number that is an address.
    ///
    /// # Errors
    /// As [`Object::value`].
    pub fn pointer(&self) -> Result<VirtAddr, ObjectError> {
        self.value().map(VirtAddr)
    }

    /// Reads the text of an array of characters, or that a pointer points to, of at most `most`
    /// bytes and without its NUL.
    ///
    /// # Errors
    /// Where it is neither, or cannot be read.
    pub fn text(&self, most: usize) -> Result<Vec<u8>, ObjectError> {
        match self.btf.get_resolved(self.type_id) {
            Some(Type::Ptr(_)) => {
                let addr = self.pointer()?;
                Ok(self.memory.read_text(addr, most)?)
            }
            _ => {
                let (_, size, len) = element_of(self.btf, self.type_id)?;
                let len = usize::try_from(len.saturating_mul(size)).unwrap_or(usize::MAX);
                let len = if len == 0 { most } else { len.min(most) };
                Ok(self.memory.read_text(self.addr, len)?)
            }
        }
    }

    fn after(&self, offset: u64) -> Result<VirtAddr, ObjectError> {
        let end = self.addr.checked_add(offset);
        end.ok_or_else(|| self.not_a("place inside of the address space"))
    }

    fn not_a(&self, what: &'static str) -> ObjectError {
        ObjectError::NotA {
            what,
            is: name_of(self.btf, self.type_id),
        }
    }
}

impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("type", &name_of(self.btf, self.type_id))
            .field("addr", &self.addr)
            .finish()
    }
}

fn name_of(btf: &Btf, id: TypeId) -> String {
    btf.name(id).unwrap_or_default().to_owned()
}

/// Finds a structure, union or typedef by name, in this order.
pub(crate) fn type_named(btf: &Btf, name: &str) -> Result<TypeId, ObjectError> {
    [Kind::Struct, Kind::Union, Kind::Typedef]
        .into_iter()
        .find_map(|kind| btf.find(name, kind))
        .ok_or_else(|| ObjectError::NoType(name.to_owned()))
}

/// Gives an array's element with its size, and the number of elements.
fn element_of(btf: &Btf, id: TypeId) -> Result<(TypeId, u64, u64), ObjectError> {
    let fault = || ObjectError::NotA {
        what: "array",
        is: name_of(btf, id),
    };
    match btf.get_resolved(id) {
        Some(Type::Array(Array { element, len, .. })) => {
            let size = btf.size_of(element).ok_or_else(fault)?;
            Ok((element, size, u64::from(len)))
        }
        _ => Err(fault()),
    }
}
