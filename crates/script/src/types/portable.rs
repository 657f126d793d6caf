//! Portable code: what lies where in the kernel's structures is asked of the target's types.

use kscope_btf::{Btf, EnumConstant, Kind, Type as BtfType, TypeId};
use kscope_spec::{CoreKind, HelperId};

use super::args::Record;
use super::ctype::pointer;
use super::field::space_of;
use super::lvalue::{Place, plus_scaled, plus_strides};
use super::{Checker, make};
use crate::catalogue::FormatField;
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{
    Arithmetic, BitLayout, Comparison, Expr, ExprKind, FieldType, Int, Layout, LayoutId, Space,
    StructSource, StructType, Type,
};

/// Anonymous structures inside one another in which a member is looked for.
const NESTING: u32 = 16;
/// Longest path of a relocation, well within what loaders take.
const LONGEST: usize = 48;
/// How the structures of tracepoints' records are named.
const RECORD: &str = "trace_event_raw_";

impl<'a> Checker<'a> {
    /// Gives the kernel's types where offsets are left to the target's.
    fn asked(&self) -> Option<&'a Btf> {
        self.inputs.btf.filter(|_| self.inputs.portable)
    }

    /// Gives the layout of this question, adding it where it is new.
    fn layout(&mut self, layout: Layout) -> LayoutId {
        let found = self.layouts.iter().position(|known| *known == layout);
        let index = found.unwrap_or_else(|| {
            self.layouts.push(layout);
            self.layouts.len() - 1
        });
        LayoutId(index as u32)
    }

    fn layout_of(&self, id: LayoutId) -> Option<&Layout> {
        self.layouts.get(id.0 as usize)
    }

    /// Reads a member of a structure of the kernel; none where its place is fixed.
    pub(super) fn relocated_part(
        &mut self,
        base: &Expr,
        of: &StructType,
        field: &FieldType,
        span: Span,
    ) -> Option<Expr> {
        let btf = self.asked()?;
        let StructSource::Btf(id) = of.source else {
            return None;
        };
        let Place::Memory {
            address,
            space: Space::Kernel,
            offset,
        } = Place::of(base.clone())
        else {
            // What user space and records of system calls look like is the same everywhere.
            return match Place::of(base.clone()) {
                Place::Value { .. } => Some(self.not_portable(&of.name, span)),
                Place::Memory { .. } | Place::Context { .. } => None,
            };
        };
        let steps = path(btf, id, &field.name, NESTING)?;
        let address = super::lvalue::plus(address, offset);
        let (root, address) = match self.split(&address, id) {
            Some((before, address)) => ((before.root, before.access), address),
            None => match named_root(btf, id) {
                Some(root) => ((root, vec![0]), address),
                None => return Some(self.not_portable(&of.name, span)),
            },
        };
        let (root, mut access) = root;
        access.extend(steps);
        let member = btf.member(id, &field.name)?;
        let Some(before) = access_offset(btf, root, &access, member.bit_offset) else {
            return Some(self.not_portable(&of.name, span));
        };
        let end = btf.resolve(member.type_id)?;
        let ask = |checker: &mut Self, kind, value: i64| {
            checker.layout(Layout {
                kind,
                root,
                access: access.clone(),
                end,
                value,
            })
        };
        let Some(bits) = field.bits else {
            let layout = ask(self, CoreKind::FieldByteOffset, i64::from(before / 8));
            let address = plus_layout(address, layout, span);
            let place = Place::Memory {
                address,
                space: space_of(base),
                offset: 0,
            };
            return Some(place.load(&field.ty, None, span));
        };
        let int = field.ty.scalar_int()?;
        let unit = i64::from(int.bytes) * 8;
        let place = i64::from(before) / unit * unit;
        let shift = i64::from(before) - place;
        let width = i64::from(bits.width);
        if shift + width > unit {
            return Some(self.not_portable(&of.name, span));
        }
        let start = ask(self, CoreKind::FieldByteOffset, place / 8);
        let bits = BitLayout {
            size: ask(self, CoreKind::FieldByteSize, i64::from(int.bytes)),
            left: ask(self, CoreKind::FieldLeftShift, 64 - shift - width),
            right: ask(self, CoreKind::FieldRightShift, 64 - width),
        };
        let kind = ExprKind::LoadBits {
            address: Box::new(plus_layout(address, start, span)),
            space: Space::Kernel,
            bits,
            signed: int.signed,
        };
        Some(make(kind, field.ty.clone(), span))
    }

    /// Takes the member's offset off an address that leads to a value of this type.
    fn split(&self, address: &Expr, end: TypeId) -> Option<(Layout, Expr)> {
        let ExprKind::Binary {
            op: Arithmetic::Add,
            left,
            right,
        } = &address.kind
        else {
            return None;
        };
        let ExprKind::Layout(id) = right.kind else {
            return None;
        };
        let layout = self.layout_of(id)?;
        let fits = layout.kind == CoreKind::FieldByteOffset
            && layout.end == end
            && layout.access.len() < LONGEST;
        let base = Expr {
            ty: left.ty.clone(),
            ..(**left).clone()
        };
        fits.then(|| (layout.clone(), base))
    }

    /// Reads an element with a known number of an array inside of a structure.
    pub(super) fn relocated_element(
        &mut self,
        base: &Expr,
        index: u32,
        element: &Type,
        len: u32,
        span: Span,
    ) -> Option<Expr> {
        let btf = self.asked()?;
        let Place::Memory {
            address,
            space: Space::Kernel,
            offset,
        } = Place::of(base.clone())
        else {
            return None;
        };
        let address = super::lvalue::plus(address, offset);
        let within = self.array_behind(btf, &address).filter(|_| index < len);
        let address = match within {
            Some((mut layout, each, address)) => {
                layout.end = btf.resolve(each)?;
                layout.access.push(index);
                let bytes = btf.size_of(each)?.checked_mul(u64::from(index))?;
                layout.value = layout.value.checked_add(i64::try_from(bytes).ok()?)?;
                let layout = self.layout(layout);
                plus_layout(address, layout, span)
            }
            None => {
                let index = super::literal(i64::from(index), span);
                self.plus_elements(address, index, element, Space::Kernel, false)
            }
        };
        let place = Place::Memory {
            address,
            space: space_of(base),
            offset: 0,
        };
        Some(place.load(element, None, span))
    }

    /// Finds the array that an address leads to: its place, its elements' type, what comes before.
    fn array_behind(&self, btf: &Btf, address: &Expr) -> Option<(Layout, TypeId, Expr)> {
        let ExprKind::Binary { right, .. } = &address.kind else {
            return None;
        };
        let ExprKind::Layout(id) = right.kind else {
            return None;
        };
        let end = self.layout_of(id)?.end;
        let Some(BtfType::Array(array)) = btf.get(end) else {
            return None;
        };
        let (layout, address) = self.split(address, end)?;
        Some((layout, array.element, address))
    }

    /// Adds `index` elements to an address.
    pub(super) fn plus_elements(
        &mut self,
        address: Expr,
        index: Expr,
        to: &Type,
        space: Space,
        subtract: bool,
    ) -> Expr {
        // As GNU C does, `void *` moves by bytes.
        let size = to.size().max(1);
        let first = matches!(index.kind, ExprKind::Int(0));
        match self.stride(to).filter(|_| space == Space::Kernel && !first) {
            Some(layout) => {
                let stride = make(ExprKind::Layout(layout), Type::I64, address.span);
                plus_strides(address, index, stride, subtract)
            }
            None => plus_scaled(address, index, size, subtract),
        }
    }

    /// Gives the size of a structure of the kernel as a question.
    fn stride(&mut self, ty: &Type) -> Option<LayoutId> {
        let btf = self.asked()?;
        let Type::Struct(of) = ty else {
            return None;
        };
        let StructSource::Btf(id) = of.source else {
            return None;
        };
        let root = named_root(btf, id)?;
        Some(self.layout(Layout {
            kind: CoreKind::TypeSize,
            root,
            access: vec![0],
            end: id,
            value: i64::from(of.size),
        }))
    }

    /// Gives what `sizeof` of a type is.
    pub(super) fn size_kind(&mut self, ty: &Type) -> ExprKind {
        match self.stride(ty) {
            Some(layout) => ExprKind::Layout(layout),
            None => ExprKind::Int(i64::from(ty.size())),
        }
    }

    /// Gives the offset of a member as a question, continuing that of the structure it is in.
    pub(super) fn member_layout(
        &mut self,
        of: &StructType,
        name: &str,
        before: Option<LayoutId>,
    ) -> Option<LayoutId> {
        let btf = self.asked()?;
        let StructSource::Btf(id) = of.source else {
            return None;
        };
        let before = before.and_then(|before| self.layout_of(before)).cloned();
        let (root, mut access) = match before.filter(|before| before.end == id) {
            Some(before) => (before.root, before.access),
            None => (named_root(btf, id)?, vec![0]),
        };
        access.extend(path(btf, id, name, NESTING)?);
        let member = btf.member(id, name)?;
        let bits = access_offset(btf, root, &access, member.bit_offset)?;
        Some(self.layout(Layout {
            kind: CoreKind::FieldByteOffset,
            root,
            access,
            end: btf.resolve(member.type_id)?,
            value: i64::from(bits / 8),
        }))
    }

    /// Gives an enumerator: its number, or a question where the target may number it otherwise.
    pub(super) fn enumerator(&mut self, name: &str, found: &EnumConstant) -> ExprKind {
        let plain = ExprKind::Int(found.value);
        let Some(BtfType::Enum(e)) = self.asked().and_then(|btf| btf.get(found.type_id)) else {
            return plain;
        };
        let place = e.enumerators().position(|one| one.name == name);
        match place {
            Some(place) if !e.name.is_empty() => {
                let layout = self.layout(Layout {
                    kind: CoreKind::EnumValue,
                    root: found.type_id,
                    access: vec![place as u32],
                    end: found.type_id,
                    value: found.value,
                });
                ExprKind::Layout(layout)
            }
            _ => plain,
        }
    }

    /// Asks whether the target has a helper.
    pub(super) fn has_helper(&mut self, helper: HelperId, span: Span) -> Expr {
        let layout = self.layout(Layout::of_helper(helper));
        let kind = ExprKind::Compare {
            op: Comparison::Ne,
            signed: false,
            left: Box::new(make(ExprKind::Layout(layout), Type::U64, span)),
            right: Box::new(super::literal(0, span)),
        };
        make(kind, Type::Bool, span)
    }

    /// Refuses a structure of the kernel as a value: user space would read it by the layout of
    /// the kernel that the object was built on.
    pub(super) fn refuse_copy(&mut self, e: &Expr) -> Option<Expr> {
        self.asked()?;
        let mut ty = &e.ty;
        while let Type::Array { element, .. } = ty {
            ty = element;
        }
        match (ty, space_of(e)) {
            (Type::Struct(s), Space::Kernel) if matches!(s.source, StructSource::Btf(_)) => {
                let name = s.name.clone();
                Some(self.not_portable(&name, e.span))
            }
            _ => None,
        }
    }

    fn not_portable(&mut self, name: &str, span: Span) -> Expr {
        self.report(
            Diagnostic::error(
                "not-portable",
                span,
                format!("a copy of '{name}' looks different on each kernel"),
            )
            .hint("in what is built to run elsewhere, read its members through the pointer"),
        )
    }

    /// Reads a field of a tracepoint's record at the place that the target's types tell; none
    /// where they do not describe the record.
    pub(super) fn relocated_field(
        &mut self,
        record: &Record,
        field: &FormatField,
        ty: &Type,
        span: Span,
    ) -> Option<Expr> {
        let layout = self.record_layout(record, field, &field.name)?;
        let Some(int) = ty.scalar_int() else {
            let address = self.record_address(layout, span);
            let place = Place::Memory {
                address,
                space: Space::Kernel,
                offset: 0,
            };
            return Some(place.load(ty, None, span));
        };
        let kind = ExprKind::CtxLoadAt { layout, int };
        Some(make(kind, ty.clone(), span))
    }

    /// Gives the address of what a field of a record says the place of; `marker` is the name's
    /// beginning in the kernel's types.
    pub(super) fn relocated_location(
        &mut self,
        record: &Record,
        field: &FormatField,
        marker: &str,
        to: Type,
        span: Span,
    ) -> Option<Expr> {
        let name = format!("{marker}_{}", field.name);
        let layout = self.record_layout(record, field, &name)?;
        let word = ExprKind::CtxLoadAt {
            layout,
            int: Int::U32,
        };
        let word = make(word, Type::U64, span);
        let low = binary(Arithmetic::And, word, super::literal(0xffff, span));
        let base = match marker {
            // Counts from the end of the word itself.
            "__rel_loc" => super::lvalue::plus(self.record_address(layout, span), 4),
            _ => make(
                ExprKind::CtxAddress,
                pointer(Type::Void, Space::Kernel),
                span,
            ),
        };
        let mut address = binary(Arithmetic::Add, base, low);
        address.ty = pointer(to, Space::Kernel);
        Some(address)
    }

    fn record_address(&self, layout: LayoutId, span: Span) -> Expr {
        let context = make(
            ExprKind::CtxAddress,
            pointer(Type::Void, Space::Kernel),
            span,
        );
        plus_layout(context, layout, span)
    }

    fn record_layout(
        &mut self,
        record: &Record,
        field: &FormatField,
        name: &str,
    ) -> Option<LayoutId> {
        let btf = self.asked().filter(|_| !record.user)?;
        let event = record.name.rsplit(':').next()?;
        let format = record.format.as_ref()?;
        let describes = |id: &TypeId| {
            let fields = format.fields.iter();
            let mut own = fields.filter(|f| !f.name.starts_with("common_"));
            own.all(|f| {
                let mut markers = ["__data_loc", "__rel_loc"].into_iter();
                let marker = markers.find(|m| f.ty.starts_with(m));
                let full = marker.map(|m| format!("{m}_{}", f.name));
                let member = btf.member(*id, full.as_deref().unwrap_or(&f.name));
                member.is_some_and(|m| m.bit_offset == f.offset.saturating_mul(8))
            })
        };
        let exact = btf.find(&format!("{RECORD}{event}"), Kind::Struct);
        let root = exact.filter(describes).or_else(|| {
            // Events of a class share its structure; their names mostly begin alike.
            let mut best: Option<(usize, TypeId)> = None;
            for id in btf.ids() {
                let Some(BtfType::Struct(s)) = btf.get(id) else {
                    continue;
                };
                let Some(class) = s.name.strip_prefix(RECORD) else {
                    continue;
                };
                let same = class.bytes().zip(event.bytes());
                let same = same.take_while(|(a, b)| a == b).count();
                if best.is_none_or(|(most, _)| same > most) && describes(&id) {
                    best = Some((same, id));
                }
            }
            best.map(|(_, id)| id)
        })?;
        let mut access = vec![0];
        access.extend(path(btf, root, name, NESTING)?);
        let member = btf.member(root, name)?;
        let whole = member.bitfield.is_none();
        let same = btf.size_of(member.type_id) == Some(u64::from(field.size));
        (whole && same).then(|| {
            self.layout(Layout {
                kind: CoreKind::FieldByteOffset,
                root,
                access,
                end: btf.resolve(member.type_id).unwrap_or_default(),
                value: i64::from(field.offset),
            })
        })
    }
}

fn binary(op: Arithmetic, left: Expr, right: Expr) -> Expr {
    let span = left.span;
    let ty = left.ty.clone();
    let kind = ExprKind::Binary {
        op,
        left: Box::new(left),
        right: Box::new(super::convert::convert(right, &Type::U64)),
    };
    make(kind, ty, span)
}

fn plus_layout(address: Expr, layout: LayoutId, span: Span) -> Expr {
    let offset = make(ExprKind::Layout(layout), Type::U64, span);
    binary(Arithmetic::Add, address, offset)
}

/// Gives the numbers of the members that lead to one by name, through anonymous ones.
fn path(btf: &Btf, of: TypeId, name: &str, depth: u32) -> Option<Vec<u32>> {
    let composite = btf.composite(of)?;
    for (index, member) in composite.members().enumerate() {
        if member.name == name {
            return Some(vec![index as u32]);
        }
        if member.name.is_empty() {
            if let Some(depth) = depth.checked_sub(1) {
                if let Some(inner) = path(btf, member.type_id, name, depth) {
                    let mut found = vec![index as u32];
                    found.extend(inner);
                    return Some(found);
                }
            }
        }
    }
    None
}

/// Gives a type with a name by which another kernel's is found: the structure itself, or a name
/// given to it.
fn named_root(btf: &Btf, id: TypeId) -> Option<TypeId> {
    if btf.name(id).is_some_and(|name| !name.is_empty()) {
        return Some(id);
    }
    btf.ids()
        .find(|alias| matches!(btf.get(*alias), Some(BtfType::Typedef { to, .. }) if to == id))
}

/// Gives the offset in bits that a path leads to.
fn access_offset(btf: &Btf, root: TypeId, access: &[u32], last: u32) -> Option<u32> {
    let mut id = btf.resolve(root)?;
    let mut bits = 0u32;
    for index in access.iter().skip(1) {
        let (step, next) = match btf.get(id)? {
            BtfType::Struct(of) | BtfType::Union(of) => {
                let member = of.members().nth(*index as usize)?;
                (member.bit_offset, member.type_id)
            }
            BtfType::Array(array) => {
                let size = u32::try_from(btf.size_of(array.element)?).ok()?;
                (size.checked_mul(8)?.checked_mul(*index)?, array.element)
            }
            _ => return None,
        };
        bits = bits.checked_add(step)?;
        id = btf.resolve(next)?;
    }
    // A path of one step says nothing that the member does not.
    if access.len() < 2 {
        Some(last)
    } else {
        Some(bits)
    }
}
