//! Types by their names, and expressions such as `task_struct.mm.pgd`.

use kscope_btf::{Btf, Kind, Type, TypeId, nearest};
use kscope_dump::Kernel;
use kscope_memory::{Object, ObjectError, VirtAddr};

use super::super::{failed, plain};
use super::address::did_you_mean;
use crate::error::Failure;

/// Most names that are said to be near.
const NEAR: usize = 3;
/// Kinds of types that are looked at by name, in the order in which they are looked for.
const KINDS: [Kind; 7] = [
    Kind::Struct,
    Kind::Union,
    Kind::Enum,
    Kind::Enum64,
    Kind::Typedef,
    Kind::Int,
    Kind::Float,
];

/// A type and those that it is made of.
pub(super) struct Named {
    pub(super) btf: Btf,
    pub(super) id: TypeId,
}

impl Named {
    /// Takes an address as that of such a thing.
    pub(super) fn at<'a>(&'a self, kernel: &'a Kernel, addr: VirtAddr) -> Object<'a> {
        Object::new(kernel, &self.btf, self.id, addr)
    }
}

/// Finds a type of the kernel, or of a module.
///
/// # Errors
///
/// Where there are no types, or none of this name.
pub(super) fn find(kernel: &Kernel, name: &str) -> Result<Named, Failure> {
    let word = name.trim();
    let (word, kinds): (&str, &[Kind]) = match word.split_once(' ') {
        Some(("struct", rest)) => (rest.trim(), &KINDS[..1]),
        Some(("union", rest)) => (rest.trim(), &KINDS[1..2]),
        Some(("enum", rest)) => (rest.trim(), &KINDS[2..4]),
        _ => (word, &KINDS),
    };
    let btf = kernel.btf();
    let btf = btf.map_err(|error| failed("there are no types", &error))?;
    let of = |btf: &Btf| kinds.iter().find_map(|kind| btf.find(word, *kind));
    if let Some(id) = of(btf) {
        let btf = btf.clone();
        return Ok(Named { btf, id });
    }
    for module in &kernel.modules().items {
        let Ok(btf) = kernel.module_btf(module) else {
            continue;
        };
        if let Some(id) = of(&btf) {
            return Ok(Named { btf, id });
        }
    }
    let names = names(btf, kinds);
    let near = nearest(word, names, NEAR);
    let failure = Failure::new(format!("this kernel has no type `{}`", plain(word)));
    Err(did_you_mean(failure, &near))
}

/// Writes the name of a type, without characters that move the cursor.
pub(super) fn type_name(btf: &Btf, id: TypeId) -> String {
    plain(&btf.type_name(id))
}

/// Gives the names of the types of some kinds.
fn names<'b>(btf: &'b Btf, kinds: &'b [Kind]) -> impl Iterator<Item = &'b str> {
    let known = |id: &TypeId| btf.kind(*id).is_some_and(|kind| kinds.contains(&kind));
    let names = btf.ids().filter(known).filter_map(|id| btf.name(id));
    names.filter(|name| !name.is_empty())
}

/// Gives the names of all types that can be looked at.
pub(in crate::crash) fn all_names(btf: &Btf) -> impl Iterator<Item = &str> {
    names(btf, &KINDS)
}

/// Gives the names of the members of a type, or of what a way from it leads to.
pub(in crate::crash) fn members(kernel: &Kernel, of: &str, path: Option<&str>) -> Vec<String> {
    let Ok(named) = find(kernel, of) else {
        return Vec::new();
    };
    let to = match path.map(|path| Path::parse(path)?.walk(&named.btf, named.id)) {
        None => named.id,
        Some(Ok(reached)) => reached.id,
        Some(Err(_)) => return Vec::new(),
    };
    let to = named.btf.pointee(to).unwrap_or(to);
    let fields = named.btf.fields(to);
    fields
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// A step from a place to one in it, or behind a pointer in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    Index(u64),
}

/// The way from a structure to a place: `mm.pgd`, `fds[3].file`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    /// As it was written.
    pub(super) text: String,
    steps: Vec<Step>,
}

impl Path {
    /// Reads a way.
    pub(super) fn parse(text: &str) -> Result<Path, Failure> {
        let mut steps = Vec::new();
        let refuse = || {
            let failure = Failure::usage(format!("`{text}` is no way to a member"));
            failure.hint("a way is as `mm.pgd` or `fds[3].file`")
        };
        // Pointers are followed by either.
        for part in text.replace("->", ".").split('.') {
            let (name, mut rest) = match part.find('[') {
                Some(at) => part.split_at(at),
                None => (part, ""),
            };
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(refuse());
            }
            steps.push(Step::Member(name.to_owned()));
            while !rest.is_empty() {
                let inner = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let (index, after) = inner.ok_or_else(refuse)?;
                let index = super::address::number(index).ok_or_else(refuse)?;
                steps.push(Step::Index(index));
                rest = after;
            }
        }
        Ok(Path {
            text: text.to_owned(),
            steps,
        })
    }

    /// Goes the way from a place, through pointers.
    ///
    /// # Errors
    ///
    /// Where a member does not exist, or a pointer on the way cannot be read.
    pub(super) fn follow<'a>(
        &self,
        btf: &Btf,
        from: Object<'a>,
    ) -> Result<Object<'a>, (ObjectError, Option<String>)> {
        let mut at = from;
        for step in &self.steps {
            let next = match step {
                Step::Member(name) => at.member(name),
                Step::Index(index) => at.index(*index),
            };
            at = next.map_err(|error| {
                let near = near_member(btf, at.type_id(), step);
                (error, near)
            })?;
        }
        Ok(at)
    }

    /// Goes the way from a type to the types on it: what each step leads to, with its offset in bits
    /// from the last pointer and its width where it is a bitfield.
    pub(super) fn walk(&self, btf: &Btf, from: TypeId) -> Result<Reached, Failure> {
        let mut at = Reached {
            id: from,
            of: from,
            bit_offset: 0,
            bits: None,
            behind: false,
        };
        for step in &self.steps {
            if let Some(to) = btf.pointee(at.id) {
                at = Reached {
                    id: to,
                    of: to,
                    bit_offset: 0,
                    bits: None,
                    behind: true,
                };
                if let Step::Index(_) = step {
                    continue;
                }
            }
            let missing = || {
                let of = type_name(btf, at.id);
                let failure = match step {
                    Step::Member(name) => Failure::new(format!("{of} has no member {name}")),
                    Step::Index(index) => Failure::new(format!("{of} has no element {index}")),
                };
                let near = near_member(btf, at.id, step);
                did_you_mean(failure, near.as_deref().as_slice())
            };
            at = match step {
                Step::Member(name) => {
                    let field = btf.member(at.id, name).ok_or_else(missing)?;
                    Reached {
                        id: field.type_id,
                        of: at.of,
                        bit_offset: at.bit_offset.saturating_add(field.bit_offset.into()),
                        bits: field.bitfield,
                        behind: at.behind,
                    }
                }
                Step::Index(index) => {
                    let Some(Type::Array(array)) = btf.get_resolved(at.id) else {
                        return Err(missing());
                    };
                    let size = btf.size_of(array.element);
                    let bits = size.and_then(|size| size.checked_mul(8)?.checked_mul(*index));
                    let inside = array.len == 0 || *index < u64::from(array.len);
                    let bits = bits.filter(|_| inside).ok_or_else(missing)?;
                    Reached {
                        id: array.element,
                        of: at.of,
                        bit_offset: at.bit_offset.saturating_add(bits),
                        bits: None,
                        behind: at.behind,
                    }
                }
            };
        }
        Ok(at)
    }
}

/// What a way leads to among types.
pub(super) struct Reached {
    pub(super) id: TypeId,
    /// The structure that it is in, behind the last pointer.
    pub(super) of: TypeId,
    /// Offset in that structure.
    pub(super) bit_offset: u64,
    pub(super) bits: Option<u32>,
    /// Whether a pointer is on the way.
    behind: bool,
}

/// Goes a way to a member that lies in the structure itself, as what links elements does.
pub(super) fn inside(named: &Named, way: &str) -> Result<Reached, Failure> {
    let reached = Path::parse(way)?.walk(&named.btf, named.id)?;
    if reached.behind {
        let of = type_name(&named.btf, named.id);
        let failure = Failure::new(format!("{way} leads through a pointer, out of {of}"));
        return Err(failure.hint("elements are linked by a member of their own"));
    }
    Ok(reached)
}

/// Gives the member whose name is near to one that a structure has not.
fn near_member(btf: &Btf, of: TypeId, step: &Step) -> Option<String> {
    let Step::Member(name) = step else {
        return None;
    };
    let of = btf.pointee(of).unwrap_or(of);
    // One that is there is missing for another reason.
    if btf.member(of, name).is_some() {
        return None;
    }
    let near = btf.near_members(of, name, 1);
    near.first().map(|name| (*name).to_owned())
}

/// Makes the failure of a way that does not lead anywhere.
pub(super) fn not_followed(path: &Path, error: (ObjectError, Option<String>)) -> Failure {
    let (error, near) = error;
    let failure = Failure::new(format!("cannot follow {}: {error}", path.text));
    did_you_mean(failure, near.as_deref().as_slice())
}

/// Takes `task_struct.mm.pgd,pid` apart: the type, and the ways to its members.
pub(super) fn expression(text: &str) -> Result<(&str, Vec<Path>), Failure> {
    let (name, paths) = match text.split_once('.') {
        Some((name, paths)) => (name, Some(paths)),
        None => (text, None),
    };
    let paths = paths.into_iter().flat_map(|paths| paths.split(','));
    Ok((name, paths.map(Path::parse).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::{Path, Step, expression};

    #[test]
    fn ways() {
        let check = |text: &str, expected: &str| {
            let steps = match Path::parse(text) {
                Ok(path) => path.steps,
                Err(_) => {
                    assert_eq!(expected, "refused", "{text}");
                    return;
                }
            };
            let steps = steps.iter().map(|step| match step {
                Step::Member(name) => name.clone(),
                Step::Index(index) => index.to_string(),
            });
            assert_eq!(steps.collect::<Vec<_>>().join(" "), expected, "{text}");
        };
        check("mm", "mm");
        check("mm.pgd", "mm pgd");
        check("mm->pgd", "mm pgd");
        check("fds[3].file", "fds 3 file");
        check("a[0x10][2]", "a 16 2");
        check("", "refused");
        check("a..b", "refused");
        check("a[", "refused");
        check("a[1]b", "refused");
        check("a[x]", "refused");
        check("a b", "refused");
    }

    #[test]
    fn expressions() {
        let check = |text: &str, name: &str, paths: &[&str]| {
            let (found, ways) = expression(text).unwrap_or_else(|_| panic!("{text}"));
            let ways: Vec<&str> = ways.iter().map(|way| &*way.text).collect();
            assert_eq!((found, &*ways), (name, paths), "{text}");
        };
        check("task_struct", "task_struct", &[]);
        check("task_struct.pid,mm.pgd", "task_struct", &["pid", "mm.pgd"]);
    }
}
