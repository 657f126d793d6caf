//! Maps of the script: their kernel form, reads, writes and aggregations.

use kscope_rows::MapValueType;
use kscope_spec::{MapId, MapKind as KernelKind, MapSpec, helper};

use super::function::{Lower, Place, Result, unsupported};
use super::{NO_PREALLOC, PREALLOC_LIMIT, is_aggregation};
use crate::diagnostic::Span;
use crate::hir::{Expr, Map, MapKind, MapRef};
use crate::ir::{BinOp, Block, Cond, Pointer, Ty, Value};
use crate::plan::{SET_MARK, padded_size};

/// Number of counters before those of full maps.
pub const LOST_COUNTERS: u32 = 2;

/// `BPF_ANY`, `BPF_NOEXIST`
const ANY: i64 = 0;
const NO_EXIST: i64 = 1;

/// Values of more bytes are not allocated as they come, unless the script says how many keys there are.
const BULKY: u32 = 256;

/// Values up to this size are zeroed on the stack to be inserted.
const ZERO_ON_STACK: u32 = 64;

/// Says whether the kernel keeps a value for each CPU.
pub(super) fn is_per_cpu(map: &Map) -> bool {
    is_aggregation(&map.value)
        || matches!(map.kind, MapKind::PerCpuHash | MapKind::PerCpuLruHash) && map.key.is_some()
}

/// Gives the offset of the word that is not zero in what an aggregation makes of its first value.
/// None where there is no such word: it needs its [`SET_MARK`].
pub(super) fn set_word(kind: &MapValueType) -> Option<u32> {
    match kind {
        MapValueType::Count => Some(0),
        MapValueType::Avg { .. }
        | MapValueType::Stats { .. }
        | MapValueType::Min { .. }
        | MapValueType::Max { .. } => Some(8),
        MapValueType::Plain(_)
        | MapValueType::Sum { .. }
        | MapValueType::Hist { .. }
        | MapValueType::Lhist { .. }
        | MapValueType::Series { .. } => None,
    }
}

/// Describes the kernel's map for a map of the script.
pub(super) fn script_map_spec(map: &Map, in_perf_event: bool) -> MapSpec {
    let per_cpu = is_per_cpu(map);
    let lru = matches!(map.kind, MapKind::LruHash | MapKind::PerCpuLruHash);
    let kind = match (map.key.is_some(), per_cpu, lru) {
        (false, false, _) => KernelKind::Array,
        (false, true, _) => KernelKind::PerCpuArray,
        (true, false, false) => KernelKind::Hash,
        (true, true, false) => KernelKind::PerCpuHash,
        (true, false, true) => KernelKind::LruHash,
        (true, true, true) => KernelKind::LruPerCpuHash,
    };
    let (value_size, entries) = match map.key {
        Some(_) => (padded_size(&map.value), map.max_entries),
        None => (padded_size(&map.value) + SET_MARK, 1),
    };
    // Old kernels refuse maps that allocate on demand in perf event programs.
    let large = u64::from(value_size) * u64::from(entries) > PREALLOC_LIMIT;
    // The kernel keeps few pieces of many bytes at hand, so that new keys in a burst would be lost;
    // the runtime sees to it that the usual number of them does not take too much memory.
    let bulky = value_size > BULKY && !map.sized;
    let on_demand = map.key.is_some() && !lru && !in_perf_event && large && !bulky;
    MapSpec {
        name: if map.name.is_empty() {
            "anonymous".to_owned()
        } else {
            map.name.clone()
        },
        kind,
        key_size: map.key.as_ref().map_or(4, |key| key_size(key.size())),
        value_size,
        max_entries: entries,
        flags: if on_demand { NO_PREALLOC } else { 0 },
        initial: None,
        frozen: false,
        ..MapSpec::default()
    }
}

/// Gives the size that the kernel has for a key: it compares whole words faster than bytes, and
/// an entry takes as much room.
pub(super) fn key_size(size: u32) -> u32 {
    size.max(1).next_multiple_of(8)
}

impl Lower<'_> {
    pub(super) fn map_info(&self, map: MapRef) -> (&Map, MapId) {
        (
            &self.program.maps[map.0 as usize],
            self.tables.script_map(map),
        )
    }

    /// Puts a key into memory where every byte of it depends on its value alone, with zeros behind
    /// it up to the size that the kernel has for it.
    pub(super) fn key(&mut self, map: MapRef, key: &Expr) -> Result<Place> {
        let (info, _) = self.map_info(map);
        let size = info.key.as_ref().map_or(4, crate::hir::Type::size);
        if size == 0 {
            return Ok(self.index_key(0));
        }
        if let Some(int) = key.ty.scalar_int() {
            let mut number = self.scalar(key)?;
            if int.signed {
                number = self.b.extend(int.bytes, false, number);
            }
            return Ok(self.number_in_memory(number));
        }
        if size == key_size(size) {
            return self.memory(key);
        }
        self.padded_value(key)
    }

    /// Gives the value of a scalar plain map as a place.
    pub(super) fn scalar_map_place(&mut self, map: MapId) -> Place {
        self.value_place(map, 0)
    }

    /// Marks a map without a key as set, on this CPU where each has a value.
    pub(super) fn mark_set(&mut self, value: Place, kind: &MapValueType) {
        let one = self.b.constant(1);
        let at = value.at(padded_size(kind));
        self.b.store(8, at.base, at.offset, one);
    }

    /// `@m = value`, `@m[key] = value`.
    pub(super) fn set_map(
        &mut self,
        map: MapRef,
        key: Option<&Expr>,
        value: &Expr,
        span: Span,
    ) -> Result<()> {
        let (info, id) = self.map_info(map);
        let per_cpu_scalar = key.is_none() && is_per_cpu(info);
        let Some(key) = key else {
            if per_cpu_scalar {
                return Err(unsupported(value.span, "an assignment to an aggregation"));
            }
            let kind = info.value.clone();
            let place = match value.ty.scalar_int() {
                Some(int) => {
                    let value = self.scalar(value)?;
                    let place = self.scalar_map_place(id);
                    self.store(place, int.bytes, value);
                    place
                }
                None => {
                    let from = self.memory(value)?;
                    let to = self.scalar_map_place(id);
                    self.copy(to, from, value.ty.size());
                    to
                }
            };
            self.mark_set(place, &kind);
            return Ok(());
        };
        let value = self.padded_value(value)?;
        let key = self.key(map, key)?;
        self.update(map, key, value, ANY, span);
        Ok(())
    }

    /// Puts a value into memory of the size that keys and values of maps have, a multiple of 8.
    fn padded_value(&mut self, value: &Expr) -> Result<Place> {
        if let Some(int) = value.ty.scalar_int() {
            let number = self.scalar(value)?;
            let place = self.number_in_memory(number);
            debug_assert!(int.bytes <= 8);
            return Ok(place);
        }
        let size = value.ty.size();
        let slot = self.slot(size);
        let place = self.slot_place(slot);
        let padded = size.max(1).next_multiple_of(8);
        self.zero(place.at(size), padded - size);
        self.memory_into(value, place, true)?;
        Ok(place)
    }

    /// Updates an entry, and counts it where the map is full.
    fn update(&mut self, map: MapRef, key: Place, value: Place, flags: i64, span: Span) {
        let result = self.try_update(map, key, value, flags);
        let zero = self.b.constant(0);
        let full = self.b.block();
        let end = self.b.block();
        self.b.branch(Cond::Eq, result, zero, end, full);
        self.enter(full);
        self.count_refused(map, result, span);
        self.join(end);
    }

    fn count_refused(&mut self, map: MapRef, code: Value, span: Span) {
        let counter = self.tables.map_full(map, span);
        self.count_with(counter, Some(code));
    }

    fn try_update(&mut self, map: MapRef, key: Place, value: Place, flags: i64) -> Value {
        let id = self.tables.script_map(map);
        let map_value = self.b.map(id);
        let key = self.address(key);
        let value = self.address(value);
        let flags = self.b.constant(flags);
        self.b
            .call(helper::MAP_UPDATE_ELEM, vec![map_value, key, value, flags])
    }

    /// Finds the entry of a key, or makes one of zeros; goes on where it is there with its place, and gives
    /// the block, not yet sealed, that is reached where the map is full.
    pub(super) fn find_or_insert(&mut self, map: MapRef, key: Place, span: Span) -> (Place, Block) {
        let (info, id) = self.map_info(map);
        let size = padded_size(&info.value);
        let (absent, present, found) = self.lookup(id, key);
        let have = self.b.block();
        let full = self.b.block();
        let pointer = Ty::Ptr(Pointer::MapValue(id));
        let param = self.b.param(have, pointer);

        self.enter(present);
        let value = self.b.non_null(found);
        self.b.jump_with(have, vec![value]);

        self.enter(absent);
        let zeros = self.zeros(size);
        // Another CPU may have been first; the entry is there then as well.
        let refused = self.try_update(map, key, zeros, NO_EXIST);
        let (missing, inserted, found) = self.lookup(id, key);
        self.enter(inserted);
        let value = self.b.non_null(found);
        self.b.jump_with(have, vec![value]);
        self.enter(missing);
        self.count_refused(map, refused, span);
        self.b.jump(full);

        self.enter(have);
        (
            Place {
                base: param,
                offset: 0,
                align: 8,
            },
            full,
        )
    }

    /// Gives `size` bytes of zero.
    fn zeros(&mut self, size: u32) -> Place {
        if size > ZERO_ON_STACK {
            let map = self.tables.zeros(size);
            return self.value_place(map, 0);
        }
        let slot = self.slot(size);
        let place = self.slot_place(slot);
        self.zero(place, size);
        place
    }

    /// Finds the value of a scalar aggregation on this CPU; gives the block, not yet sealed, where there is none.
    fn per_cpu_entry(&mut self, id: MapId) -> (Place, Block) {
        let key = self.index_key(0);
        let (absent, present, found) = self.lookup(id, key);
        self.enter(present);
        let base = self.b.non_null(found);
        (
            Place {
                base,
                offset: 0,
                align: 8,
            },
            absent,
        )
    }

    /// `@m[key] = count()` and the like.
    pub(super) fn update_map(
        &mut self,
        map: MapRef,
        key: Option<&Expr>,
        [value, now]: [Option<&Expr>; 2],
        span: Span,
    ) -> Result<()> {
        // The order of bpftrace, which a value that has effects shows.
        let value_first = matches!(
            self.map_info(map).0.value,
            MapValueType::Hist { .. } | MapValueType::Lhist { .. }
        );
        let key_later = key.filter(|_| value_first);
        let key_now = key.filter(|_| !value_first);
        let key_now = key_now.map(|key| self.key(map, key)).transpose()?;
        let value = match value {
            Some(value) => self.scalar(value)?,
            None => self.b.constant(1),
        };
        let now = now.map(|now| self.scalar(now)).transpose()?;
        let key_later = key_later.map(|key| self.key(map, key)).transpose()?;
        let key = key_now.or(key_later);
        let (info, id) = self.map_info(map);
        let kind = info.value.clone();
        let scalar = key.is_none();
        let (place, otherwise) = match key {
            Some(key) => self.find_or_insert(map, key, span),
            None => self.per_cpu_entry(id),
        };
        if scalar && set_word(&kind).is_none() {
            self.mark_set(place, &kind);
        }
        match now {
            Some(now) => self.add_to_series(&kind, place, value, now),
            None => self.aggregate(&kind, place, value, span)?,
        }
        self.join(otherwise);
        Ok(())
    }

    fn aggregate(
        &mut self,
        kind: &MapValueType,
        at: Place,
        value: Value,
        span: Span,
    ) -> Result<()> {
        match kind {
            MapValueType::Plain(_) | MapValueType::Series { .. } => {
                return Err(unsupported(span, "this aggregation"));
            }
            MapValueType::Count => {
                let one = self.b.constant(1);
                self.add_in_place(at, one);
            }
            MapValueType::Sum { .. } => self.add_in_place(at, value),
            MapValueType::Avg { .. } | MapValueType::Stats { .. } => {
                self.add_in_place(at, value);
                let one = self.b.constant(1);
                self.add_in_place(at.at(8), one);
            }
            MapValueType::Min { signed } => {
                self.extreme(at, value, if *signed { Cond::Slt } else { Cond::Ult });
            }
            MapValueType::Max { signed } => {
                self.extreme(at, value, if *signed { Cond::Sgt } else { Cond::Ugt });
            }
            MapValueType::Hist { bits } => {
                let bucket = self.log2_bucket(value, u32::from(*bits));
                self.add_to_bucket(at, bucket, kind.buckets());
            }
            MapValueType::Lhist { min, max, step } => {
                let bucket = self.linear_bucket(value, *min, *max, *step, kind.buckets());
                self.add_to_bucket(at, bucket, kind.buckets());
            }
        }
        Ok(())
    }

    /// Stores the value where none is stored yet or where it beats the stored one.
    pub(super) fn extreme(&mut self, at: Place, value: Value, beats: Cond) {
        let zero = self.b.constant(0);
        let store = self.b.block();
        let compare = self.b.block();
        let end = self.b.block();
        let is_set = self.b.load(8, false, at.base, at.offset + 8);
        self.b.branch(Cond::Eq, is_set, zero, store, compare);
        self.enter(compare);
        let old = self.b.load(8, false, at.base, at.offset);
        self.b.branch(beats, value, old, store, end);
        self.enter(store);
        self.b.store(8, at.base, at.offset, value);
        let one = self.b.constant(1);
        self.b.store(8, at.base, at.offset + 8, one);
        self.join(end);
    }

    fn add_to_bucket(&mut self, at: Place, bucket: Value, buckets: u32) {
        let last = self.b.constant(i64::from(buckets) - 1);
        let inside = self.b.block();
        let end = self.b.block();
        self.b.branch(Cond::Ule, bucket, last, inside, end);
        self.enter(inside);
        let three = self.b.constant(3);
        let offset = self.b.binary(BinOp::Shl, bucket, three);
        let base = self.b.ptr_add_var(at.base, offset, (buckets - 1) * 8);
        let one = self.b.constant(1);
        self.add_in_place(Place { base, ..at }, one);
        self.join(end);
    }

    /// Computes the bucket of `hist`; see [`MapValueType::buckets`] for the numbering. As in bpftrace
    /// what has no sign and is 2^63 or more counts as negative.
    fn log2_bucket(&mut self, value: Value, bits: u32) -> Value {
        let bucket = self.b.variable();
        let zero = self.b.constant(0);
        self.b.write(bucket, zero);
        let positive = self.b.block();
        let linear = self.b.block();
        let steps = self.b.block();
        let end = self.b.block();
        self.b.branch(Cond::Slt, value, zero, end, positive);

        self.enter(positive);
        let limit = self.b.constant(1 << (bits + 1));
        self.b.branch(Cond::Ult, value, limit, linear, steps);

        self.enter(linear);
        let one = self.b.constant(1);
        let index = self.b.binary(BinOp::Add, value, one);
        self.b.write(bucket, index);
        self.b.jump(end);

        self.enter(steps);
        let power = self.log2(value);
        let k = self.b.constant(i64::from(bits));
        let above = self.b.binary(BinOp::Sub, power, k);
        let one = self.b.constant(1);
        let group = self.b.binary(BinOp::Add, above, one);
        let group = self.b.binary(BinOp::Shl, group, k);
        let part = self.b.binary(BinOp::LShr, value, above);
        let mask = self.b.constant((1 << bits) - 1);
        let part = self.b.binary(BinOp::And, part, mask);
        let index = self.b.binary(BinOp::Add, group, part);
        let index = self.b.binary(BinOp::Add, index, one);
        self.b.write(bucket, index);
        self.b.jump(end);

        self.enter(end);
        self.b.read(bucket)
    }

    /// Computes the number of the highest bit set of an unsigned number from 1 on without a branch,
    /// so that the verifier sees one path.
    fn log2(&mut self, value: Value) -> Value {
        let mut rest = value;
        let mut power = self.b.constant(0);
        for step in [32i64, 16, 8, 4, 2, 1] {
            // The sign of the difference is set where `rest` has a bit at or above `step`.
            let below = if step == 32 {
                let zero = self.b.constant(0);
                let half = self.b.constant(step);
                let high = self.b.binary(BinOp::LShr, rest, half);
                self.b.binary(BinOp::Sub, zero, high)
            } else {
                let limit = self.b.constant((1 << step) - 1);
                self.b.binary(BinOp::Sub, limit, rest)
            };
            let sign = self.b.constant(63);
            let above = self.b.binary(BinOp::LShr, below, sign);
            let scale = self.b.constant(i64::from(step.trailing_zeros()));
            let shift = self.b.binary(BinOp::Shl, above, scale);
            rest = self.b.binary(BinOp::LShr, rest, shift);
            power = self.b.binary(BinOp::Add, power, shift);
        }
        power
    }

    fn linear_bucket(
        &mut self,
        value: Value,
        min: i64,
        max: i64,
        step: i64,
        buckets: u32,
    ) -> Value {
        let bucket = self.b.variable();
        let zero = self.b.constant(0);
        self.b.write(bucket, zero);
        let not_below = self.b.block();
        let above = self.b.block();
        let inside = self.b.block();
        let end = self.b.block();
        let min = self.b.constant(min);
        self.b.branch(Cond::Slt, value, min, end, not_below);
        self.enter(not_below);
        let max = self.b.constant(max);
        self.b.branch(Cond::Sge, value, max, above, inside);
        self.enter(above);
        let last = self.b.constant(i64::from(buckets) - 1);
        self.b.write(bucket, last);
        self.b.jump(end);
        self.enter(inside);
        let from_min = self.b.binary(BinOp::Sub, value, min);
        let step = self.b.constant(step);
        let index = self.b.binary(BinOp::UDiv, from_min, step);
        let one = self.b.constant(1);
        let index = self.b.binary(BinOp::Add, index, one);
        self.b.write(bucket, index);
        self.b.jump(end);
        self.enter(end);
        self.b.read(bucket)
    }

    /// The value of a map as a number, 0 where the key is absent.
    pub(super) fn map_get_scalar(
        &mut self,
        map: MapRef,
        key: Option<&Expr>,
        expr: &Expr,
    ) -> Result<Value> {
        let (info, id) = self.map_info(map);
        if is_aggregation(&info.value) {
            return self.aggregate_number(map, key, expr);
        }
        let Some(int) = expr.ty.scalar_int() else {
            return Err(unsupported(expr.span, "this value as a number"));
        };
        let Some(key) = key else {
            let place = self.scalar_map_place(id);
            return Ok(self.load(place, int));
        };
        let key = self.key(map, key)?;
        let result = self.b.variable();
        let zero = self.b.constant(0);
        self.b.write(result, zero);
        let (absent, present, found) = self.lookup(id, key);
        self.enter(present);
        let base = self.b.non_null(found);
        let value = self.load(
            Place {
                base,
                offset: 0,
                align: 8,
            },
            int,
        );
        self.b.write(result, value);
        self.join(absent);
        Ok(self.b.read(result))
    }

    /// The value of a map in memory, zeros where the key is absent.
    pub(super) fn map_get_memory(
        &mut self,
        map: MapRef,
        key: Option<&Expr>,
        to: Place,
        size: u32,
        span: Span,
    ) -> Result<()> {
        let (info, id) = self.map_info(map);
        if is_aggregation(&info.value) {
            return Err(unsupported(span, "an aggregation as a value"));
        }
        let Some(key) = key else {
            let from = self.scalar_map_place(id);
            self.copy(to, from, size);
            return Ok(());
        };
        let key = self.key(map, key)?;
        let (absent, present, found) = self.lookup(id, key);
        let end = self.b.block();
        self.enter(present);
        let base = self.b.non_null(found);
        self.copy(
            to,
            Place {
                base,
                offset: 0,
                align: 8,
            },
            size,
        );
        self.b.jump(end);
        self.enter(absent);
        self.zero(to, size);
        self.join(end);
        Ok(())
    }

    /// Branches on whether a key is there.
    pub(super) fn has_key(&mut self, map: MapRef, key: &Expr, yes: Block, no: Block) -> Result<()> {
        let id = self.tables.script_map(map);
        let key = self.key(map, key)?;
        let (absent, present, _) = self.lookup(id, key);
        self.enter(present);
        self.b.jump(yes);
        self.enter(absent);
        self.b.jump(no);
        Ok(())
    }

    /// `delete(@m, key)`: 1 where the key was there; a scalar map becomes zero and is not set any more.
    pub(super) fn delete(&mut self, map: MapRef, key: Option<&Expr>) -> Result<Value> {
        let (info, id) = self.map_info(map);
        let Some(key) = key else {
            if is_per_cpu(info) {
                return self.delete_per_cpu(map);
            }
            let size = padded_size(&info.value);
            let counted = info.value_type.scalar_int();
            let place = self.scalar_map_place(id);
            let mut set = self
                .b
                .load(8, false, place.base, place.offset + size as i32);
            if let Some(int) = counted {
                let value = self.load(place, int);
                set = self.b.binary(BinOp::Or, set, value);
            }
            self.zero(place, size + SET_MARK);
            let zero = self.b.constant(0);
            return Ok(self.b.compare(Cond::Ne, set, zero));
        };
        let key = self.key(map, key)?;
        let key = self.address(key);
        let map_value = self.b.map(id);
        let result = self.b.call(helper::MAP_DELETE_ELEM, vec![map_value, key]);
        let zero = self.b.constant(0);
        Ok(self.b.compare(Cond::Eq, result, zero))
    }
}
