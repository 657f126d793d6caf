//! The types that relocations name, copied out of those compiled against: no more than CO-RE looks
//! at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kscope_btf::write::Builder;
use kscope_btf::{Btf, Kept, Type, TypeId};
use kscope_spec::helper;

use crate::hir::{Layout, LayoutId};

/// Types that refer to one another at most: qualifiers, arrays of arrays.
const LEVELS: u32 = 32;

/// The copied types, to which more are added, and where each layout is in them.
pub(super) struct Local {
    pub(super) builder: Builder,
    /// Type and path of each.
    pub(super) places: HashMap<LayoutId, (TypeId, Vec<u32>)>,
}

impl Local {
    pub(super) fn of(btf: Option<&Btf>, wanted: Vec<(LayoutId, &Layout)>) -> Local {
        let none = Local {
            builder: Builder::new(),
            places: HashMap::new(),
        };
        let Some(btf) = btf.filter(|_| !wanted.is_empty()) else {
            return none;
        };
        let mut kept = BTreeMap::new();
        for (_, layout) in &wanted {
            each_step(btf, layout, &mut |step| match step {
                Step::Type(id) => keep(btf, &mut kept, id, LEVELS),
                Step::Member(of, index) => {
                    if let Kept::Members(members) = kept.entry(of).or_insert_with(no_members) {
                        members.insert(index);
                    }
                }
                Step::Element(_) => {}
            });
        }
        // The copies are numbered in the order of the originals.
        let ids: HashMap<TypeId, TypeId> = kept.keys().copied().zip((1..).map(TypeId)).collect();
        let Ok(small) = Btf::parse(btf.subset(&kept)) else {
            return none;
        };
        let mut places = HashMap::new();
        for (id, layout) in wanted {
            let mut access: Vec<u32> = layout.access.iter().take(1).copied().collect();
            each_step(btf, layout, &mut |step| match step {
                Step::Type(_) => {}
                Step::Member(of, index) => {
                    if let Some(Kept::Members(members)) = kept.get(&of) {
                        access.push(members.range(..index).count() as u32);
                    }
                }
                Step::Element(index) => access.push(index),
            });
            if let Some(root) = ids.get(&layout.root) {
                places.insert(id, (*root, access));
            }
        }
        let mut builder = Builder::with_strings_of(&small);
        for id in small.ids() {
            builder.copy(&small, id);
        }
        Local { builder, places }
    }

    /// Adds the enumeration of helpers, with those alone whose being there is asked for.
    pub(super) fn ask_for_helpers(&mut self, asked: &[(LayoutId, &Layout)]) {
        let known = asked.iter().filter_map(|(layout, asks)| {
            let helper = asks.helper()?;
            let name = format!("BPF_FUNC_{}", helper::name(helper)?);
            Some((*layout, name, helper.0))
        });
        let known: Vec<(LayoutId, String, u32)> = known.collect();
        if known.is_empty() {
            return;
        }
        let constants: Vec<(&str, i32)> = known
            .iter()
            .map(|(_, name, number)| (name.as_str(), *number as i32))
            .collect();
        let id = self.builder.add_enum("bpf_func_id", 4, &constants);
        let places = (0..).zip(&known);
        self.places
            .extend(places.map(|(place, (layout, ..))| (*layout, (id, vec![place]))));
    }
}

fn no_members() -> Kept {
    Kept::Members(BTreeSet::new())
}

/// What a path comes by.
enum Step {
    /// A type that is looked at.
    Type(TypeId),
    /// A member of a structure or union.
    Member(TypeId, u32),
    /// An element of an array.
    Element(u32),
}

fn each_step(btf: &Btf, layout: &Layout, step: &mut dyn FnMut(Step)) {
    step(Step::Type(layout.root));
    let mut at = btf.resolve(layout.root);
    for &index in layout.access.iter().skip(1) {
        let Some(id) = at else { return };
        let next = match btf.get(id) {
            Some(Type::Struct(of) | Type::Union(of)) => {
                let member = of.members().nth(index as usize);
                step(Step::Member(id, index));
                member.map(|member| member.type_id)
            }
            Some(Type::Array(array)) => {
                step(Step::Element(index));
                Some(array.element)
            }
            _ => None,
        };
        let Some(next) = next else { return };
        step(Step::Type(next));
        at = btf.resolve(next);
    }
}

/// Keeps a type as far as its size and kind are concerned.
fn keep(btf: &Btf, kept: &mut BTreeMap<TypeId, Kept>, id: TypeId, levels: u32) {
    let (Some(ty), Some(levels)) = (btf.get(id), levels.checked_sub(1)) else {
        return;
    };
    match ty {
        Type::Void => {}
        Type::Struct(_) | Type::Union(_) => {
            kept.entry(id).or_insert_with(no_members);
        }
        Type::Array(array) => {
            kept.insert(id, Kept::Whole);
            keep(btf, kept, array.element, levels);
            keep(btf, kept, array.index, levels);
        }
        Type::Typedef { to, .. }
        | Type::Const(to)
        | Type::Volatile(to)
        | Type::Restrict(to)
        | Type::TypeTag { to, .. } => {
            kept.insert(id, Kept::Whole);
            keep(btf, kept, to, levels);
        }
        _ => {
            kept.insert(id, Kept::Whole);
        }
    }
}
