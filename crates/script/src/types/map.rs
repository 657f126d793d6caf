//! Maps: their keys, their values, and how both grow.

use super::infer::{Flex, MapContents, Shape, join};
use super::name::aggregate_name;
use super::{Checker, aggregate, did_you_mean, make, poison};
use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::hir::{Expr, ExprKind, MapKind, MapRef, Type};
use crate::near::nearest;
use crate::syntax::tree;
use kscope_rows::MapValueType;

/// Largest key and value in bytes that the kernel's hash maps take with certainty.
const LARGEST: u32 = 1 << 16;

impl Checker<'_> {
    /// Takes the `let @m = kind(N);` declarations into account.
    pub(super) fn declare_maps(&mut self) {
        let script = self.script;
        for decl in &script.map_decls {
            let kind = match decl.kind.text.as_str() {
                "hash" => MapKind::Hash,
                "lruhash" => MapKind::LruHash,
                "percpuhash" => MapKind::PerCpuHash,
                "percpulruhash" => MapKind::PerCpuLruHash,
                other => {
                    let kinds = ["hash", "lruhash", "percpuhash", "percpulruhash"];
                    let mut error = Diagnostic::error(
                        "unknown-map-kind",
                        decl.kind.span,
                        format!("Invalid bpf map type: {other}"),
                    );
                    error.hint = did_you_mean(&nearest(other, kinds, 2))
                        .or_else(|| Some(format!("the kinds are {}", kinds.join(", "))));
                    self.report(error);
                    continue;
                }
            };
            let entries = match &decl.entries {
                None => None,
                Some(e) => {
                    let checked = self.expr(e);
                    match checked.kind {
                        ExprKind::Int(n) if (1..=1 << 28).contains(&n) => Some(n as u32),
                        _ => {
                            self.error(
                                "invalid-map-size",
                                e.span,
                                "the number of entries is a literal from 1 to 268435456",
                            );
                            None
                        }
                    }
                }
            };
            let index = self.env.map(&decl.name.text, decl.name.span);
            if self.env.maps.get(index).is_some_and(|m| m.keyed.is_none()) {
                let message = format!("Unused map: @{}", decl.name.text);
                self.warn("unused-map", decl.name.span, message);
            }
            let per_cpu = matches!(kind, MapKind::PerCpuHash | MapKind::PerCpuLruHash);
            let contents = self.map_contents(MapRef(index as u32));
            let clash = match contents {
                MapContents::Unknown => None,
                MapContents::Plain(_) => per_cpu.then_some("hash"),
                MapContents::Aggregate(_) => (!per_cpu).then_some("percpuhash"),
            };
            if let Some(other) = clash {
                let message = format!(
                    "Incompatible map types. Type from declaration: {}. Type from value/key \
                     type: {other}",
                    decl.kind.text
                );
                self.error("map-kind", decl.kind.span, message);
            }
            if let Some(info) = self.env.maps.get_mut(index) {
                info.kind = kind;
                info.entries = entries;
            }
        }
    }

    /// Checks the mention of a map with or without a key, and gives the key in the map's type.
    pub(super) fn map_access(
        &mut self,
        name: &str,
        key: Option<&tree::Expr>,
        span: Span,
    ) -> (MapRef, Option<Expr>) {
        let key = key.map(|k| {
            let key = self.expr(k);
            self.storable(key)
        });
        let index = self.env.map(name, span);
        let map = MapRef(index as u32);
        if !self.use_keyed(map, key.is_some(), span) {
            return (map, None);
        }
        let Some(key) = key else {
            return (map, None);
        };
        (map, Some(self.grow_key(map, key)))
    }

    /// Says that a map is used with or without keys; false where it was used otherwise before.
    pub(super) fn use_keyed(&mut self, map: MapRef, keyed: bool, span: Span) -> bool {
        let Some(info) = self.env.maps.get_mut(map.0 as usize) else {
            return false;
        };
        match info.keyed {
            None => {
                info.keyed = Some(keyed);
                info.first_keyed = span;
                self.env.changed = true;
                true
            }
            Some(known) if known == keyed => true,
            Some(known) => {
                let (name, first) = (info.name.clone(), info.first_keyed);
                let message = if known {
                    format!(
                        "@{name} used as a map without an explicit key (scalar map), previously \
                         used with an explicit key (non-scalar map)"
                    )
                } else {
                    format!(
                        "@{name} used as a map with an explicit key (non-scalar map), previously \
                         used without an explicit key (scalar map)"
                    )
                };
                self.report(
                    Diagnostic::error("map-keys", span, message).note(first, "first used here"),
                );
                false
            }
        }
    }

    /// Lets the type of a map's keys take in a key, and converts it.
    fn grow_key(&mut self, map: MapRef, key: Expr) -> Expr {
        if key.ty == Type::Void {
            return key;
        }
        let span = key.span;
        if key.ty.size() > LARGEST {
            let size = key.ty.size();
            let message = format!("the key has {size} bytes, a map takes at most {LARGEST}");
            let found = Diagnostic::error("too-large", span, message);
            return self.report(found.hint("lower max_strlen, or use fewer or shorter parts"));
        }
        let shape = self.shape(&key);
        let Some(info) = self.env.maps.get_mut(map.0 as usize) else {
            return key;
        };
        let joined = match &info.key {
            None => Some(shape.clone()),
            Some(known) => join(known, &shape),
        };
        match joined {
            None => {
                let known = info.key.as_ref().map_or(Type::Void, |k| k.ty.clone());
                let (name, first) = (info.name.clone(), info.first_keyed);
                self.report(
                    Diagnostic::error(
                        "type-mismatch",
                        span,
                        format!(
                            "Argument mismatch for @{name}: trying to access with arguments: \
                             '{}' when map expects arguments: '{known}'",
                            shape.ty
                        ),
                    )
                    .note(first, "first used here"),
                )
            }
            Some(joined) => {
                if info.key.as_ref() != Some(&joined) {
                    info.key = Some(joined.clone());
                    self.env.changed = true;
                }
                self.coerce(key, &joined.ty)
            }
        }
    }

    /// Lets the type of a map's values take in a value.
    pub(super) fn grow_map(&mut self, map: MapRef, shape: &Shape, span: Span) -> bool {
        let Some(info) = self.env.maps.get_mut(map.0 as usize) else {
            return false;
        };
        if !info.assigned {
            info.assigned = true;
            self.env.changed = true;
        }
        if shape.ty == Type::Void {
            return false;
        }
        let (known, first) = match &info.contents {
            MapContents::Unknown => {
                info.contents = MapContents::Plain(shape.clone());
                info.first = span;
                self.env.changed = true;
                return true;
            }
            MapContents::Plain(known) => match join(known, shape) {
                Some(joined) => {
                    if joined != *known {
                        info.contents = MapContents::Plain(joined);
                        self.env.changed = true;
                    }
                    return true;
                }
                None => (known.ty.to_string(), info.first),
            },
            MapContents::Aggregate(value) => (aggregate_name(value).to_owned() + "_t", info.first),
        };
        let name = info.name.clone();
        self.map_mismatch(&name, &shape.ty.to_string(), &known, first, span);
        false
    }

    pub(super) fn map_mismatch(
        &mut self,
        name: &str,
        new: &str,
        known: &str,
        first: Span,
        span: Span,
    ) {
        self.diagnostics.push(
            Diagnostic::error(
                "type-mismatch",
                span,
                format!(
                    "Type mismatch for @{name}: trying to assign value of type '{new}' when map \
                     already has a type '{known}'"
                ),
            )
            .note(first, format!("@{name} got its type here")),
        );
    }

    pub(super) fn want_number(&mut self, map: MapRef) {
        if let Some(info) = self.env.maps.get_mut(map.0 as usize) {
            info.wants_number = true;
            info.assigned = true;
        }
    }

    pub(super) fn map_flex(&self, map: MapRef) -> Flex {
        match self.env.maps.get(map.0 as usize).map(|m| &m.contents) {
            Some(MapContents::Plain(shape)) => shape.flex.clone(),
            _ => Flex::Fixed,
        }
    }

    /// Gives the type of a map's plain values; an aggregation is reported.
    pub(super) fn plain_shape(&mut self, map: MapRef, span: Span) -> Option<Shape> {
        let info = self.env.maps.get(map.0 as usize)?;
        match &info.contents {
            MapContents::Plain(shape) => Some(shape.clone()),
            MapContents::Unknown => None,
            MapContents::Aggregate(value) => {
                let (name, first) = (info.name.clone(), info.first);
                let known = aggregate_name(value).to_owned() + "_t";
                self.map_mismatch(&name, "int64", &known, first, span);
                None
            }
        }
    }

    pub(super) fn map_contents(&self, map: MapRef) -> MapContents {
        let info = self.env.maps.get(map.0 as usize);
        info.map_or(MapContents::Unknown, |i| i.contents.clone())
    }

    /// Reads a map.
    pub(super) fn read_map(&mut self, name: &str, key: Option<&tree::Expr>, span: Span) -> Expr {
        let (map, key) = self.map_access(name, key, span);
        self.read_map_at(map, key, span)
    }

    pub(super) fn read_map_at(&mut self, map: MapRef, key: Option<Expr>, span: Span) -> Expr {
        let ty = match self.map_contents(map) {
            MapContents::Unknown => {
                // One that nothing is put into reads as the number 0.
                let info = self.env.maps.get_mut(map.0 as usize);
                if let Some(info) = info.filter(|i| !i.assigned) {
                    info.wants_number = true;
                    return poison(span);
                }
                return self.undefined_map(map, span);
            }
            MapContents::Plain(shape) => {
                let unassigned = self
                    .env
                    .maps
                    .get(map.0 as usize)
                    .is_some_and(|i| !i.assigned);
                if unassigned {
                    let mut warning = self.undefined(map, span);
                    warning.severity = Severity::Warning;
                    warning.message.push_str(", nothing is ever put into it");
                    self.report(warning);
                }
                shape.ty
            }
            MapContents::Aggregate(value) => match aggregate::reads_as(&value) {
                Some(ty) => ty,
                None => {
                    let name = self.map_name(map);
                    let value = aggregate_name(&value);
                    return self.error(
                        "invalid-map-use",
                        span,
                        format!("@{name} holds {value}() values, which can only be printed"),
                    );
                }
            },
        };
        let info = self.env.maps.get(map.0 as usize);
        if info.is_some_and(|i| i.keyed == Some(true)) && key.is_none() {
            return poison(span);
        }
        let kind = ExprKind::MapGet {
            map,
            key: key.map(Box::new),
        };
        make(kind, ty, span)
    }

    /// Reports a map that is read and never written.
    pub(super) fn undefined_map(&mut self, map: MapRef, span: Span) -> Expr {
        let Some(info) = self.env.maps.get(map.0 as usize) else {
            return poison(span);
        };
        let name = info.name.clone();
        if info.assigned {
            self.unresolved.push(Diagnostic::error(
                "unresolved-type",
                span,
                format!("Could not resolve the type of map @{name}"),
            ));
            return poison(span);
        }
        let error = self.undefined(map, span);
        self.report(error)
    }

    fn undefined(&self, map: MapRef, span: Span) -> Diagnostic {
        let name = self.map_name(map);
        let written = self.env.maps.iter().filter(|m| m.assigned);
        let near = nearest(&name, written.map(|m| m.name.as_str()), 3);
        let near: Vec<String> = near.into_iter().map(|n| format!("@{n}")).collect();
        let mut error = Diagnostic::error("undefined-map", span, format!("Undefined map: @{name}"));
        error.hint = did_you_mean(&near);
        error
    }

    pub(super) fn map_name(&self, map: MapRef) -> String {
        let info = self.env.maps.get(map.0 as usize);
        info.map_or(String::new(), |i| i.name.clone())
    }

    /// Finds the map that a function is given by name: `clear(@m)`.
    pub(super) fn map_argument(&mut self, function: &str, e: &tree::Expr) -> Option<MapRef> {
        match &e.kind {
            tree::ExprKind::Map { name, key: None } => {
                let map = MapRef(self.env.map(name, e.span) as u32);
                if self.map_contents(map) == MapContents::Unknown {
                    self.undefined_map(map, e.span);
                }
                Some(map)
            }
            tree::ExprKind::Map { key: Some(_), .. } => {
                self.expr(e);
                self.error(
                    "invalid-argument",
                    e.span,
                    format!("{function}() takes a whole map, without a key"),
                );
                None
            }
            _ => {
                self.expr(e);
                self.error(
                    "invalid-argument",
                    e.span,
                    format!("{function}() expects a map to be provided"),
                );
                None
            }
        }
    }

    /// Checks `map, key` arguments of `has_key` and `delete`.
    pub(super) fn keyed_argument(
        &mut self,
        function: &str,
        map: &tree::Expr,
        key: &tree::Expr,
    ) -> Option<(MapRef, Expr)> {
        let tree::ExprKind::Map { name, key: None } = &map.kind else {
            self.expr(key);
            self.map_argument(function, map);
            return None;
        };
        let (map_ref, key) = self.map_access(name, Some(key), map.span);
        if self.map_contents(map_ref) == MapContents::Unknown {
            self.undefined_map(map_ref, map.span);
        }
        Some((map_ref, key?))
    }

    /// Says whether values of a map are aggregated.
    pub(super) fn aggregate_of(&self, map: MapRef) -> Option<MapValueType> {
        match self.map_contents(map) {
            MapContents::Aggregate(value) => Some(value),
            _ => None,
        }
    }
}
