//! A check of everything in a blob, for BTF that comes from a person.

use crate::blob::{Btf, TypeId};
use crate::kind::Kind;
use crate::types::Type;
use crate::{Error, query::CHAIN};

impl Btf {
    /// Checks what [`Btf::parse`] leaves to the one who asks: that every name is a string, that
    /// every type referred to exists, and that chains of typedefs and arrays end. Own types only.
    ///
    /// # Errors
    /// The first fault, in order of types.
    pub fn validate(&self) -> Result<(), Error> {
        for id in self.own_ids() {
            self.validate_type(id)?;
        }
        Ok(())
    }

    fn validate_type(&self, id: TypeId) -> Result<(), Error> {
        let offset = self.offset_of(id);
        let bad = |what| Error::Malformed { what, offset };
        let raw = self.raw(id).ok_or_else(|| bad("type"))?;
        let ty = self.get(id).ok_or_else(|| bad("type"))?;
        self.string(raw.name).ok_or_else(|| bad("name of a type"))?;
        let (once, each) = raw.kind().sizes().unwrap_or((0, 0));
        let named = matches!(
            raw.kind(),
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::FuncProto
        );
        if named {
            for i in 0..raw.count() {
                let name = raw.endian.u32(raw.rest, once + i * each);
                name.and_then(|n| self.string(n))
                    .ok_or_else(|| bad("name of a member"))?;
            }
        }
        let exists = |to: TypeId| {
            let found = to.0 < self.type_count();
            if found {
                Ok(())
            } else {
                Err(Error::DanglingType { from: id, to })
            }
        };
        match ty {
            Type::Ptr(to)
            | Type::Typedef { to, .. }
            | Type::Volatile(to)
            | Type::Const(to)
            | Type::Restrict(to)
            | Type::TypeTag { to, .. }
            | Type::Var { to, .. }
            | Type::DeclTag { to, .. } => exists(to)?,
            Type::Func { proto, .. } => {
                exists(proto)?;
                if self.kind(proto) != Some(Kind::FuncProto) {
                    return Err(bad("prototype of a function"));
                }
            }
            Type::Array(a) => {
                exists(a.element)?;
                exists(a.index)?;
            }
            Type::Struct(c) | Type::Union(c) => c.members().try_for_each(|m| exists(m.type_id))?,
            Type::FuncProto(p) => {
                exists(p.result)?;
                p.params().try_for_each(|p| exists(p.type_id))?;
            }
            Type::DataSec(d) => d.vars().try_for_each(|v| exists(v.type_id))?,
            Type::Void | Type::Int(_) | Type::Enum(_) | Type::Fwd { .. } | Type::Float { .. } => {}
            Type::Other { .. } => {}
        }
        self.chain_ends(id)
    }

    /// Follows what has to be known to know the type's size.
    fn chain_ends(&self, id: TypeId) -> Result<(), Error> {
        let mut at = id;
        for _ in 0..CHAIN {
            at = match self.get(at) {
                Some(Type::Array(a)) => a.element,
                Some(
                    Type::Typedef { to, .. }
                    | Type::Volatile(to)
                    | Type::Const(to)
                    | Type::Restrict(to)
                    | Type::TypeTag { to, .. },
                ) => to,
                _ => return Ok(()),
            };
        }
        Err(Error::EndlessChain(id))
    }
}
