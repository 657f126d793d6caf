//! Types of one side, the object's or the target's, and the bounds on comparing both.

use core::cell::Cell;

use kscope_btf::{Btf, Kind, Type, TypeId};

use super::failure::Mismatch;

/// The types of one side.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) btf: &'a Btf,
    /// Size in bytes of its pointers.
    pub(super) pointer: u32,
}

impl<'a> View<'a> {
    /// Follows typedefs, qualifiers and tags.
    pub(super) fn resolve(&self, id: TypeId) -> Result<TypeId, Mismatch> {
        self.btf.resolve(id).ok_or(Mismatch::Malformed(id))
    }

    /// Decodes the type below typedefs, qualifiers and tags.
    pub(super) fn get(&self, id: TypeId) -> Result<Type<'a>, Mismatch> {
        self.btf.get_resolved(id).ok_or(Mismatch::Malformed(id))
    }

    /// Gives the size in bytes.
    pub(super) fn size(&self, id: TypeId) -> Result<u32, Mismatch> {
        let size = self.btf.size_with(id, self.pointer);
        let size = size.and_then(|size| u32::try_from(size).ok());
        size.ok_or(Mismatch::Sizeless(id))
    }

    /// Gives the size in bytes of an array's elements, or of what is no array.
    pub(super) fn element_size(&self, id: TypeId) -> Result<u32, Mismatch> {
        let mut id = id;
        for _ in 0..DEPTH {
            match self.get(id)? {
                Type::Array(array) => id = array.element,
                _ => return self.size(id),
            }
        }
        Err(Mismatch::TooDeep)
    }

    /// Gives a type as C says it, for people.
    pub(super) fn text(&self, id: TypeId) -> String {
        match self.btf.kind(id) {
            Some(Kind::Typedef) => {
                format!("typedef {}", self.btf.name(id).unwrap_or_default())
            }
            _ => self.btf.type_name(id),
        }
    }

    /// Gives the types of a prototype's parameters, `void` for a trailing `...`.
    pub(super) fn params(proto: &kscope_btf::FuncProto<'a>) -> Vec<TypeId> {
        let mut params: Vec<TypeId> = proto.params().map(|param| param.type_id).collect();
        if proto.is_variadic() {
            params.push(TypeId::VOID);
        }
        params
    }
}

/// Deepest chain of pointers, arrays and prototypes followed; libbpf's bound.
pub(super) const DEPTH: u32 = 32;

/// What the relocations of one object may still take together: comparisons of types, and words about
/// those that failed.
pub(super) struct Budget {
    whole: usize,
    left: Cell<usize>,
}

/// Steps of all relocations of an object. A member looked at is one, and the text of a failed relocation
/// one for each byte; the largest objects there are take less than a tenth of it.
const OBJECT: usize = 1 << 24;
/// Steps of one comparison. A kernel's largest type has some thousand members with all that they hold.
const COMPARISON: usize = 1 << 18;
/// Bytes of a name that are looked at in one step.
const NAME: usize = 64;

impl Default for Budget {
    fn default() -> Budget {
        Budget::of(OBJECT)
    }
}

impl Budget {
    pub(super) fn of(whole: usize) -> Budget {
        let left = Cell::new(whole);
        Budget { whole, left }
    }

    /// Takes steps; false where there are too few.
    pub(super) fn take(&self, steps: usize) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(steps));
        left > steps
    }

    /// Begins anew, for another object.
    pub(super) fn refill(&self) {
        self.left.set(self.whole);
    }

    /// Tells whether all is taken.
    pub(super) fn is_empty(&self) -> bool {
        self.left.get() == 0
    }
}

/// Both sides. A comparison takes a bounded number of steps, whatever the types say.
pub(super) struct Pair<'a> {
    pub(super) local: View<'a>,
    pub(super) target: View<'a>,
    steps: Cell<usize>,
    pub(super) budget: &'a Budget,
}

impl<'a> Pair<'a> {
    pub(super) fn new(local: View<'a>, target: View<'a>, budget: &'a Budget) -> Pair<'a> {
        Pair {
            local,
            target,
            steps: Cell::new(COMPARISON),
            budget,
        }
    }

    /// Counts a step.
    pub(super) fn step(&self) -> Result<(), Mismatch> {
        self.steps(1)
    }

    /// Counts a look at a name.
    pub(super) fn name(&self, name: &str) -> Result<(), Mismatch> {
        match self.budget.take(1 + name.len() / NAME) {
            true => Ok(()),
            false => Err(Mismatch::Exhausted),
        }
    }

    /// Counts steps.
    pub(super) fn steps(&self, count: usize) -> Result<(), Mismatch> {
        if !self.budget.take(count) {
            return Err(Mismatch::Exhausted);
        }
        let left = self.steps.get().checked_sub(count);
        self.steps.set(left.ok_or(Mismatch::TooDeep)?);
        Ok(())
    }
}
