//! Typed skeleton of the eBPF object bindgen; written by kscope bindgen, not by hand.

#![allow(dead_code, reason = "not all of it is used")]
#![allow(unused_imports, reason = "the same for all objects")]
#![allow(unreachable_pub, reason = "who has the module decides")]
#![allow(non_snake_case, reason = "names are those of C")]
#![allow(non_upper_case_globals, reason = "names are those of C")]
#![allow(clippy::all, reason = "written by a program")]

use core::mem::offset_of;
use std::sync::Arc;

use kscope_bpf::plain::{self, Plain, Text};
use kscope_bpf::spec::Spec;
use kscope_bpf::typed::skeleton;
use kscope_bpf::typed::{EventMap, PerCpuMap, TypedConstant, TypedFilter, TypedGlobal};
use kscope_bpf::typed::{TypedMap, TypedQueue};
use kscope_bpf::{Error, Link, Loader, Map, Object, Program};

/// The object before it is loaded.
#[derive(Clone, Debug)]
pub struct Open {
    /// The global variables, with the values that they are to start with.
    pub globals: Globals,
    spec: Spec,
}

impl Open {
    /// Opens the object out of bytes: the same, compiled again for example.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is another.
    pub fn read(bytes: &[u8]) -> Result<Open, Error> {
        let spec = skeleton::read("bindgen", bytes)?;
        let globals = Globals {
            defaults: skeleton::initial(&spec, "defaults")?,
            flags: skeleton::initial(&spec, "flags")?,
            close: skeleton::initial(&spec, "close")?,
            ratios: skeleton::initial(&spec, "ratios")?,
            r#type: skeleton::initial(&spec, "type")?,
            own: skeleton::initial(&spec, "own")?,
            some_option: skeleton::initial(&spec, "some_option")?,
            some_map: skeleton::initial(&spec, "some_map")?,
            first: skeleton::initial(&spec, "first")?,
            second: skeleton::initial(&spec, "second")?,
        };
        Ok(Open { globals, spec })
    }

    /// Gives what is to be loaded.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Gives what is to be loaded, to be changed: sizes of maps for example.
    pub fn spec_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }

    /// Loads the object into the running kernel.
    ///
    /// # Errors
    ///
    /// The first map's or program's that is not optional and was refused.
    pub fn load(&self) -> Result<Skeleton, Error> {
        self.load_with(Loader::new(kscope_bpf::sys::real_kernel()))
    }

    /// Loads the object with a loader of one's own.
    ///
    /// # Errors
    ///
    /// As [`Open::load`].
    pub fn load_with(&self, loader: Loader<'_>) -> Result<Skeleton, Error> {
        let loader = skeleton::set(loader, &self.spec, "defaults", &self.globals.defaults);
        let loader = skeleton::set(loader, &self.spec, "flags", &self.globals.flags);
        let loader = skeleton::set(loader, &self.spec, "close", &self.globals.close);
        let loader = skeleton::set(loader, &self.spec, "ratios", &self.globals.ratios);
        let loader = skeleton::set(loader, &self.spec, "type", &self.globals.r#type);
        let loader = skeleton::set(loader, &self.spec, "own", &self.globals.own);
        let loader = skeleton::set(loader, &self.spec, "some_option", &self.globals.some_option);
        let loader = skeleton::set(loader, &self.spec, "some_map", &self.globals.some_map);
        let loader = skeleton::set(loader, &self.spec, "first", &self.globals.first);
        let loader = skeleton::set(loader, &self.spec, "second", &self.globals.second);
        Skeleton::new(&self.spec, loader.load(&self.spec)?)
    }
}

/// Values of the global variables.
#[derive(Clone, Debug)]
pub struct Globals {
    /// In `.rodata`.
    pub defaults: Numbers,
    /// In `.data`.
    pub flags: Bits,
    /// In `.data`.
    pub close: Packed,
    /// In `.data`.
    pub ratios: Floats,
    /// In `.data`.
    pub r#type: u32,
    /// In `.data.own`.
    pub own: u32,
    /// In `.bss`.
    pub some_option: OptionType,
    /// In `.bss`.
    pub some_map: MapType,
    /// In `.bss`.
    pub first: SameName,
    /// In `.bss`.
    pub second: SameName2,
}

/// The object, loaded.
#[derive(Clone, Debug)]
pub struct Skeleton {
    /// The maps.
    pub maps: Maps,
    /// The programs.
    pub programs: Programs,
    /// The global variables.
    pub globals: Cells,
    object: Arc<Object>,
    spec: Arc<Spec>,
}

impl Skeleton {
    fn new(spec: &Spec, object: Object) -> Result<Skeleton, Error> {
        let object = Arc::new(object);
        let maps = Maps {
            typed: skeleton::map(spec, &object, "typed")?,
            untyped: skeleton::map(spec, &object, "untyped")?,
            by_cpu: skeleton::map(spec, &object, "by_cpu")?,
            queue: skeleton::map(spec, &object, "queue")?,
            filter: skeleton::map(spec, &object, "filter")?,
            ring: skeleton::map(spec, &object, "ring")?,
            r#match: skeleton::map(spec, &object, "match")?,
            tail_calls: skeleton::map(spec, &object, "tail_calls")?,
        };
        let programs = Programs {
            match_: skeleton::program(spec, &object, "match_")?,
            left_out: skeleton::optional_program(spec, &object, "left_out"),
        };
        let globals = Cells {
            defaults: skeleton::constant(spec, &object, "defaults")?,
            flags: skeleton::global(spec, &object, "flags")?,
            close: skeleton::global(spec, &object, "close")?,
            ratios: skeleton::global(spec, &object, "ratios")?,
            r#type: skeleton::global(spec, &object, "type")?,
            own: skeleton::global(spec, &object, "own")?,
            some_option: skeleton::global(spec, &object, "some_option")?,
            some_map: skeleton::global(spec, &object, "some_map")?,
            first: skeleton::global(spec, &object, "first")?,
            second: skeleton::global(spec, &object, "second")?,
        };
        let spec = Arc::new(spec.clone());
        Ok(Skeleton {
            maps,
            programs,
            globals,
            object,
            spec,
        })
    }

    /// Gives the object without its types.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Gives what was loaded, as it was described.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Attaches each program as its section says.
    ///
    /// # Errors
    ///
    /// The first program's that cannot be attached; nothing is attached then.
    pub fn attach(&self) -> Result<Links, Error> {
        Ok(Links {
            match_: skeleton::attach(&self.object, &self.programs.match_)?,
            left_out: skeleton::attach_optional(&self.object, &self.programs.left_out)?,
        })
    }
}

/// The maps.
#[derive(Clone, Debug)]
pub struct Maps {
    /// A map of kind Hash with room for 16 entries.
    pub typed: TypedMap<KeyT, ValueT>,
    /// A map of kind Hash with room for 16 entries.
    pub untyped: TypedMap<[u8; 4], [u8; 12]>,
    /// A map of kind PerCpuHash with room for 16 entries.
    pub by_cpu: PerCpuMap<u32, Unions>,
    /// A map of kind Queue with room for 4 entries.
    pub queue: TypedQueue<Point>,
    /// A map of kind BloomFilter with room for 4 entries.
    pub filter: TypedFilter<u32>,
    /// A ring buffer of 4096 bytes.
    pub ring: EventMap,
    /// A map of kind PerfEventArray.
    pub r#match: EventMap,
    /// A map of kind ProgArray with room for 1 entries.
    pub tail_calls: Map,
}

/// The programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Section `raw_tp/sched_switch`.
    pub match_: Program,
    /// Section `raw_tp/sched_wakeup`.
    pub left_out: Option<Program>,
}

/// The global variables of a loaded object, to be read and written while it runs.
#[derive(Clone, Debug)]
pub struct Cells {
    /// In `.rodata`.
    pub defaults: TypedConstant<Numbers>,
    /// In `.data`.
    pub flags: TypedGlobal<Bits>,
    /// In `.data`.
    pub close: TypedGlobal<Packed>,
    /// In `.data`.
    pub ratios: TypedGlobal<Floats>,
    /// In `.data`.
    pub r#type: TypedGlobal<u32>,
    /// In `.data.own`.
    pub own: TypedGlobal<u32>,
    /// In `.bss`.
    pub some_option: TypedGlobal<OptionType>,
    /// In `.bss`.
    pub some_map: TypedGlobal<MapType>,
    /// In `.bss`.
    pub first: TypedGlobal<SameName>,
    /// In `.bss`.
    pub second: TypedGlobal<SameName2>,
}

/// What is attached. A link that is dropped is detached; programs whose section does not say to
/// what they attach have none.
#[derive(Debug, Default)]
pub struct Links {
    /// Section `raw_tp/sched_switch`.
    pub match_: Option<Link>,
    /// Section `raw_tp/sched_wakeup`.
    pub left_out: Option<Link>,
}

/// the anonymous struct key_t: 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct KeyT {
    /// At byte 0.
    pub key: u32,
    /// At byte 4.
    pub padded: u8,
    #[doc(hidden)]
    pub _pad_5: [u8; 3],
}

const _: () = {
    assert!(size_of::<KeyT>() == 8);
    assert!(offset_of!(KeyT, key) == 0);
    assert!(offset_of!(KeyT, padded) == 4);
};

impl Plain for KeyT {
    const SIZE: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            key: plain::field(bytes, 0),
            padded: plain::field(bytes, 4),
            _pad_5: plain::field(bytes, 5),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.key);
        plain::put(bytes, 4, &self.padded);
        plain::put(bytes, 5, &self._pad_5);
    }
}

impl core::fmt::Debug for KeyT {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("KeyT");
        out.field("key", &self.key);
        out.field("padded", &self.padded);
        out.finish()
    }
}

impl Default for KeyT {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// the anonymous struct value_t: 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ValueT {
    /// At byte 0.
    pub count: u64,
}

const _: () = {
    assert!(size_of::<ValueT>() == 8);
    assert!(offset_of!(ValueT, count) == 0);
};

impl Plain for ValueT {
    const SIZE: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            count: plain::field(bytes, 0),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.count);
    }
}

impl core::fmt::Debug for ValueT {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("ValueT");
        out.field("count", &self.count);
        out.finish()
    }
}

impl Default for ValueT {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct unions`: 48 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Unions {
    /// At byte 0.
    pub family: u32,
    /// At byte 4.
    pub from: Address,
    #[doc(hidden)]
    pub _pad_20: [u8; 4],
    /// An anonymous union: see the methods.
    pub _union_24: [u8; 8],
    /// At byte 32.
    pub inner: u16,
    /// An anonymous union: see the methods.
    pub _union_34: [u8; 2],
    /// At byte 36.
    pub nested: UnionsNested,
    /// At byte 40.
    pub nothing: UnionsNothing,
    /// At byte 40.
    pub named: UnionsNamed,
    #[doc(hidden)]
    pub _pad_41: [u8; 7],
}

const _: () = {
    assert!(size_of::<Unions>() == 48);
    assert!(offset_of!(Unions, family) == 0);
    assert!(offset_of!(Unions, from) == 4);
    assert!(offset_of!(Unions, inner) == 32);
    assert!(offset_of!(Unions, nested) == 36);
    assert!(offset_of!(Unions, nothing) == 40);
    assert!(offset_of!(Unions, named) == 40);
};

impl Plain for Unions {
    const SIZE: usize = 48;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            family: plain::field(bytes, 0),
            from: plain::field(bytes, 4),
            _pad_20: plain::field(bytes, 20),
            _union_24: plain::field(bytes, 24),
            inner: plain::field(bytes, 32),
            _union_34: plain::field(bytes, 34),
            nested: plain::field(bytes, 36),
            nothing: plain::field(bytes, 40),
            named: plain::field(bytes, 40),
            _pad_41: plain::field(bytes, 41),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.family);
        plain::put(bytes, 4, &self.from);
        plain::put(bytes, 20, &self._pad_20);
        plain::put(bytes, 24, &self._union_24);
        plain::put(bytes, 32, &self.inner);
        plain::put(bytes, 34, &self._union_34);
        plain::put(bytes, 36, &self.nested);
        plain::put(bytes, 40, &self.nothing);
        plain::put(bytes, 40, &self.named);
        plain::put(bytes, 41, &self._pad_41);
    }
}

impl Unions {
    /// Reads `number`.
    pub fn number(&self) -> u64 {
        plain::field(&self._union_24, 0)
    }

    /// Writes `number`.
    pub fn set_number(&mut self, value: u64) {
        plain::put(&mut self._union_24, 0, &value);
    }

    /// Reads `first`.
    pub fn first(&self) -> u32 {
        plain::field(&self._union_24, 0)
    }

    /// Writes `first`.
    pub fn set_first(&mut self, value: u32) {
        plain::put(&mut self._union_24, 0, &value);
    }

    /// Reads `second`.
    pub fn second(&self) -> u32 {
        plain::field(&self._union_24, 4)
    }

    /// Writes `second`.
    pub fn set_second(&mut self, value: u32) {
        plain::put(&mut self._union_24, 4, &value);
    }

    /// Reads `nibble`, 4 bits.
    pub fn nibble(&self) -> u8 {
        plain::bits(&self._union_24, 0, 4) as u8
    }

    /// Writes `nibble`, 4 bits.
    pub fn set_nibble(&mut self, value: u8) {
        plain::set_bits(&mut self._union_24, 0, 4, u64::from(value));
    }

    /// Reads `either`.
    pub fn either(&self) -> u16 {
        plain::field(&self._union_34, 0)
    }

    /// Writes `either`.
    pub fn set_either(&mut self, value: u16) {
        plain::put(&mut self._union_34, 0, &value);
    }

    /// Reads `or`.
    pub fn or(&self) -> Text<2> {
        plain::field(&self._union_34, 0)
    }

    /// Writes `or`.
    pub fn set_or(&mut self, value: Text<2>) {
        plain::put(&mut self._union_34, 0, &value);
    }
}

impl core::fmt::Debug for Unions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Unions");
        out.field("family", &self.family);
        out.field("from", &self.from);
        out.field("inner", &self.inner);
        out.field("nested", &self.nested);
        out.field("nothing", &self.nothing);
        out.field("named", &self.named);
        out.field("number", &self.number());
        out.field("first", &self.first());
        out.field("second", &self.second());
        out.field("nibble", &self.nibble());
        out.field("either", &self.either());
        out.field("or", &self.or());
        out.finish()
    }
}

impl Default for Unions {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `union address`: 16 bytes, read and written by methods.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Address {
    /// Its bytes.
    pub bytes: [u8; 16],
}

const _: () = assert!(size_of::<Address>() == 16);

impl Plain for Address {
    const SIZE: usize = 16;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            bytes: plain::field(bytes, 0),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.bytes);
    }
}

impl Address {
    /// Reads `v4`.
    pub fn v4(&self) -> u32 {
        plain::field(&self.bytes, 0)
    }

    /// Writes `v4`.
    pub fn set_v4(&mut self, value: u32) {
        plain::put(&mut self.bytes, 0, &value);
    }

    /// Reads `v6`.
    pub fn v6(&self) -> [u8; 16] {
        plain::field(&self.bytes, 0)
    }

    /// Writes `v6`.
    pub fn set_v6(&mut self, value: [u8; 16]) {
        plain::put(&mut self.bytes, 0, &value);
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Address");
        out.field("v4", &self.v4());
        out.field("v6", &self.v6());
        out.finish()
    }
}

impl Default for Address {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// the anonymous struct unions_nested: 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UnionsNested {
    /// At byte 0.
    pub deep: u32,
}

const _: () = {
    assert!(size_of::<UnionsNested>() == 4);
    assert!(offset_of!(UnionsNested, deep) == 0);
};

impl Plain for UnionsNested {
    const SIZE: usize = 4;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            deep: plain::field(bytes, 0),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.deep);
    }
}

impl core::fmt::Debug for UnionsNested {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("UnionsNested");
        out.field("deep", &self.deep);
        out.finish()
    }
}

impl Default for UnionsNested {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// the anonymous union unions_nothing: 0 bytes, read and written by methods.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UnionsNothing {
    /// Its bytes.
    pub bytes: [u8; 0],
}

const _: () = assert!(size_of::<UnionsNothing>() == 0);

impl Plain for UnionsNothing {
    const SIZE: usize = 0;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            bytes: plain::field(bytes, 0),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.bytes);
    }
}

impl core::fmt::Debug for UnionsNothing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("UnionsNothing")
    }
}

impl Default for UnionsNothing {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// the anonymous union unions_named: 1 bytes, read and written by methods.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UnionsNamed {
    /// Its bytes.
    pub bytes: [u8; 1],
}

const _: () = assert!(size_of::<UnionsNamed>() == 1);

impl Plain for UnionsNamed {
    const SIZE: usize = 1;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            bytes: plain::field(bytes, 0),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.bytes);
    }
}

impl UnionsNamed {
    /// Reads `one`.
    pub fn one(&self) -> u8 {
        plain::field(&self.bytes, 0)
    }

    /// Writes `one`.
    pub fn set_one(&mut self, value: u8) {
        plain::put(&mut self.bytes, 0, &value);
    }
}

impl core::fmt::Debug for UnionsNamed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("UnionsNamed");
        out.field("one", &self.one());
        out.finish()
    }
}

impl Default for UnionsNamed {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct point`: 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Point {
    /// At byte 0.
    pub x: i16,
    /// At byte 2.
    pub y: i16,
}

const _: () = {
    assert!(size_of::<Point>() == 4);
    assert!(offset_of!(Point, x) == 0);
    assert!(offset_of!(Point, y) == 2);
};

impl Plain for Point {
    const SIZE: usize = 4;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            x: plain::field(bytes, 0),
            y: plain::field(bytes, 2),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.x);
        plain::put(bytes, 2, &self.y);
    }
}

impl core::fmt::Debug for Point {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Point");
        out.field("x", &self.x);
        out.field("y", &self.y);
        out.finish()
    }
}

impl Default for Point {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct numbers`: 112 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Numbers {
    /// At byte 0.
    pub truth: bool,
    /// At byte 1.
    pub tiny: i8,
    /// At byte 2.
    pub octet: u8,
    /// At byte 3.
    pub letter: i8,
    #[doc(hidden)]
    pub _pad_4: [u8; 4],
    /// At byte 8.
    pub wide: i64,
    /// At byte 16.
    pub widest: u128,
    /// At byte 32.
    pub text: Text<5>,
    /// At byte 37.
    pub bytes: [u8; 3],
    /// At byte 40.
    pub lines: [Text<4>; 2],
    /// At byte 48.
    pub matrix: [[u32; 3]; 2],
    /// At byte 72.
    pub corners: [Point; 2],
    /// At byte 80.
    pub pointer: u64,
    /// At byte 88.
    pub callback: u64,
    /// At byte 96.
    pub verdict: Verdict,
    /// At byte 100.
    pub levels: [Level; 2],
    /// At byte 108.
    pub words: Words,
}

const _: () = {
    assert!(size_of::<Numbers>() == 112);
    assert!(offset_of!(Numbers, truth) == 0);
    assert!(offset_of!(Numbers, tiny) == 1);
    assert!(offset_of!(Numbers, octet) == 2);
    assert!(offset_of!(Numbers, letter) == 3);
    assert!(offset_of!(Numbers, wide) == 8);
    assert!(offset_of!(Numbers, widest) == 16);
    assert!(offset_of!(Numbers, text) == 32);
    assert!(offset_of!(Numbers, bytes) == 37);
    assert!(offset_of!(Numbers, lines) == 40);
    assert!(offset_of!(Numbers, matrix) == 48);
    assert!(offset_of!(Numbers, corners) == 72);
    assert!(offset_of!(Numbers, pointer) == 80);
    assert!(offset_of!(Numbers, callback) == 88);
    assert!(offset_of!(Numbers, verdict) == 96);
    assert!(offset_of!(Numbers, levels) == 100);
    assert!(offset_of!(Numbers, words) == 108);
};

impl Plain for Numbers {
    const SIZE: usize = 112;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            truth: plain::field(bytes, 0),
            tiny: plain::field(bytes, 1),
            octet: plain::field(bytes, 2),
            letter: plain::field(bytes, 3),
            _pad_4: plain::field(bytes, 4),
            wide: plain::field(bytes, 8),
            widest: plain::field(bytes, 16),
            text: plain::field(bytes, 32),
            bytes: plain::field(bytes, 37),
            lines: plain::field(bytes, 40),
            matrix: plain::field(bytes, 48),
            corners: plain::field(bytes, 72),
            pointer: plain::field(bytes, 80),
            callback: plain::field(bytes, 88),
            verdict: plain::field(bytes, 96),
            levels: plain::field(bytes, 100),
            words: plain::field(bytes, 108),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.truth);
        plain::put(bytes, 1, &self.tiny);
        plain::put(bytes, 2, &self.octet);
        plain::put(bytes, 3, &self.letter);
        plain::put(bytes, 4, &self._pad_4);
        plain::put(bytes, 8, &self.wide);
        plain::put(bytes, 16, &self.widest);
        plain::put(bytes, 32, &self.text);
        plain::put(bytes, 37, &self.bytes);
        plain::put(bytes, 40, &self.lines);
        plain::put(bytes, 48, &self.matrix);
        plain::put(bytes, 72, &self.corners);
        plain::put(bytes, 80, &self.pointer);
        plain::put(bytes, 88, &self.callback);
        plain::put(bytes, 96, &self.verdict);
        plain::put(bytes, 100, &self.levels);
        plain::put(bytes, 108, &self.words);
    }
}

impl core::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Numbers");
        out.field("truth", &self.truth);
        out.field("tiny", &self.tiny);
        out.field("octet", &self.octet);
        out.field("letter", &self.letter);
        out.field("wide", &self.wide);
        out.field("widest", &self.widest);
        out.field("text", &self.text);
        out.field("bytes", &self.bytes);
        out.field("lines", &self.lines);
        out.field("matrix", &self.matrix);
        out.field("corners", &self.corners);
        out.field("pointer", &self.pointer);
        out.field("callback", &self.callback);
        out.field("verdict", &self.verdict);
        out.field("levels", &self.levels);
        out.field("words", &self.words);
        out.finish()
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `enum verdict`: any number may be in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Verdict(pub u32);

impl Verdict {
    /// 0.
    pub const PASS: Verdict = Verdict(0);
    /// 7.
    pub const DROP: Verdict = Verdict(7);
    /// 7.
    pub const SAME: Verdict = Verdict(7);
    /// 4294967295.
    pub const LAST: Verdict = Verdict(4294967295);

    /// Gives the name in C of the first constant with this value.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Verdict::PASS => Some("PASS"),
            Verdict::DROP => Some("DROP"),
            Verdict::LAST => Some("LAST"),
            _ => None,
        }
    }
}

impl Plain for Verdict {
    const SIZE: usize = size_of::<u32>();

    fn decode(bytes: &[u8]) -> Self {
        Verdict(plain::field(bytes, 0))
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.0);
    }
}

impl core::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Verdict({})", self.0),
        }
    }
}

/// `enum level`: any number may be in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Level(pub u32);

impl Level {
    /// 1.
    pub const LOW: Level = Level(1);
    /// 2.
    pub const HIGH: Level = Level(2);

    /// Gives the name in C of the first constant with this value.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Level::LOW => Some("LOW"),
            Level::HIGH => Some("HIGH"),
            _ => None,
        }
    }
}

impl Plain for Level {
    const SIZE: usize = size_of::<u32>();

    fn decode(bytes: &[u8]) -> Self {
        Level(plain::field(bytes, 0))
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.0);
    }
}

impl core::fmt::Debug for Level {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Level({})", self.0),
        }
    }
}

/// the anonymous enum words: any number may be in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Words(pub u32);

impl Words {
    /// 0.
    pub const name2: Words = Words(0);
    /// 1.
    pub const SIZE2: Words = Words(1);
    /// 2.
    pub const crate_: Words = Words(2);

    /// Gives the name in C of the first constant with this value.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Words::name2 => Some("name"),
            Words::SIZE2 => Some("SIZE"),
            Words::crate_ => Some("crate"),
            _ => None,
        }
    }
}

impl Plain for Words {
    const SIZE: usize = size_of::<u32>();

    fn decode(bytes: &[u8]) -> Self {
        Words(plain::field(bytes, 0))
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.0);
    }
}

impl core::fmt::Debug for Words {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Words({})", self.0),
        }
    }
}

/// `struct bits`: 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Bits {
    /// At byte 0.
    pub before: i8,
    /// Bitfields: see the methods.
    pub _bits_1: [u8; 15],
    /// At byte 16.
    pub after: u8,
    /// Bitfields: see the methods.
    pub _bits_17: [u8; 3],
    #[doc(hidden)]
    pub _pad_20: [u8; 4],
}

const _: () = {
    assert!(size_of::<Bits>() == 24);
    assert!(offset_of!(Bits, before) == 0);
    assert!(offset_of!(Bits, after) == 16);
};

impl Plain for Bits {
    const SIZE: usize = 24;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            before: plain::field(bytes, 0),
            _bits_1: plain::field(bytes, 1),
            after: plain::field(bytes, 16),
            _bits_17: plain::field(bytes, 17),
            _pad_20: plain::field(bytes, 20),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.before);
        plain::put(bytes, 1, &self._bits_1);
        plain::put(bytes, 16, &self.after);
        plain::put(bytes, 17, &self._bits_17);
        plain::put(bytes, 20, &self._pad_20);
    }
}

impl Bits {
    /// Reads `low`, 3 bits.
    pub fn low(&self) -> u32 {
        plain::bits(&self._bits_1, 0, 3) as u32
    }

    /// Writes `low`, 3 bits.
    pub fn set_low(&mut self, value: u32) {
        plain::set_bits(&mut self._bits_1, 0, 3, u64::from(value));
    }

    /// Reads `high`, 20 bits.
    pub fn high(&self) -> u32 {
        plain::bits(&self._bits_1, 24, 20) as u32
    }

    /// Writes `high`, 20 bits.
    pub fn set_high(&mut self, value: u32) {
        plain::set_bits(&mut self._bits_1, 24, 20, u64::from(value));
    }

    /// Reads `negative`, 5 bits.
    pub fn negative(&self) -> i32 {
        plain::sign(plain::bits(&self._bits_1, 44, 5), 5) as i32
    }

    /// Writes `negative`, 5 bits.
    pub fn set_negative(&mut self, value: i32) {
        plain::set_bits(&mut self._bits_1, 44, 5, value as u64);
    }

    /// Reads `flag`, 1 bit.
    pub fn flag(&self) -> bool {
        plain::bits(&self._bits_1, 49, 1) != 0
    }

    /// Writes `flag`, 1 bit.
    pub fn set_flag(&mut self, value: bool) {
        plain::set_bits(&mut self._bits_1, 49, 1, u64::from(value));
    }

    /// Reads `verdict`, 4 bits.
    pub fn verdict(&self) -> Verdict {
        Verdict(plain::bits(&self._bits_1, 50, 4) as u32)
    }

    /// Writes `verdict`, 4 bits.
    pub fn set_verdict(&mut self, value: Verdict) {
        plain::set_bits(&mut self._bits_1, 50, 4, u64::from(value.0));
    }

    /// Reads `whole`, 64 bits.
    pub fn whole(&self) -> u64 {
        plain::bits(&self._bits_1, 56, 64)
    }

    /// Writes `whole`, 64 bits.
    pub fn set_whole(&mut self, value: u64) {
        plain::set_bits(&mut self._bits_1, 56, 64, value);
    }

    /// Reads `last`, 23 bits.
    pub fn last(&self) -> u32 {
        plain::bits(&self._bits_17, 0, 23) as u32
    }

    /// Writes `last`, 23 bits.
    pub fn set_last(&mut self, value: u32) {
        plain::set_bits(&mut self._bits_17, 0, 23, u64::from(value));
    }
}

impl core::fmt::Debug for Bits {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Bits");
        out.field("before", &self.before);
        out.field("after", &self.after);
        out.field("low", &self.low());
        out.field("high", &self.high());
        out.field("negative", &self.negative());
        out.field("flag", &self.flag());
        out.field("verdict", &self.verdict());
        out.field("whole", &self.whole());
        out.field("last", &self.last());
        out.finish()
    }
}

impl Default for Bits {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct packed`: 11 bytes, closer than Rust would lay it out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, packed)]
pub struct Packed {
    /// At byte 0.
    pub a: u8,
    /// At byte 1.
    pub b: u32,
    /// At byte 5.
    pub c: Point,
    /// Bitfields: see the methods.
    pub _bits_9: [u8; 2],
}

const _: () = {
    assert!(size_of::<Packed>() == 11);
    assert!(offset_of!(Packed, a) == 0);
    assert!(offset_of!(Packed, b) == 1);
    assert!(offset_of!(Packed, c) == 5);
};

impl Plain for Packed {
    const SIZE: usize = 11;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            a: plain::field(bytes, 0),
            b: plain::field(bytes, 1),
            c: plain::field(bytes, 5),
            _bits_9: plain::field(bytes, 9),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &{ self.a });
        plain::put(bytes, 1, &{ self.b });
        plain::put(bytes, 5, &{ self.c });
        plain::put(bytes, 9, &{ self._bits_9 });
    }
}

impl Packed {
    /// Reads `d`, 9 bits.
    pub fn d(&self) -> u16 {
        plain::bits(&self._bits_9, 0, 9) as u16
    }

    /// Writes `d`, 9 bits.
    pub fn set_d(&mut self, value: u16) {
        plain::set_bits(&mut self._bits_9, 0, 9, u64::from(value));
    }
}

impl core::fmt::Debug for Packed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Packed");
        out.field("a", &{ self.a });
        out.field("b", &{ self.b });
        out.field("c", &{ self.c });
        out.field("d", &self.d());
        out.finish()
    }
}

impl Default for Packed {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct floats`: 16 bytes.
#[derive(Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Floats {
    /// At byte 0.
    pub single: f32,
    #[doc(hidden)]
    pub _pad_4: [u8; 4],
    /// At byte 8.
    pub twice: f64,
}

const _: () = {
    assert!(size_of::<Floats>() == 16);
    assert!(offset_of!(Floats, single) == 0);
    assert!(offset_of!(Floats, twice) == 8);
};

impl Plain for Floats {
    const SIZE: usize = 16;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            single: plain::field(bytes, 0),
            _pad_4: plain::field(bytes, 4),
            twice: plain::field(bytes, 8),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.single);
        plain::put(bytes, 4, &self._pad_4);
        plain::put(bytes, 8, &self.twice);
    }
}

impl core::fmt::Debug for Floats {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Floats");
        out.field("single", &self.single);
        out.field("twice", &self.twice);
        out.finish()
    }
}

impl Default for Floats {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct option`: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct OptionType {
    /// At byte 0.
    pub r#type: i32,
    /// At byte 4.
    pub self_: i32,
    /// At byte 8.
    pub r#match: i32,
    /// At byte 12.
    pub _pad_0: i32,
}

const _: () = {
    assert!(size_of::<OptionType>() == 16);
    assert!(offset_of!(OptionType, r#type) == 0);
    assert!(offset_of!(OptionType, self_) == 4);
    assert!(offset_of!(OptionType, r#match) == 8);
    assert!(offset_of!(OptionType, _pad_0) == 12);
};

impl Plain for OptionType {
    const SIZE: usize = 16;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            r#type: plain::field(bytes, 0),
            self_: plain::field(bytes, 4),
            r#match: plain::field(bytes, 8),
            _pad_0: plain::field(bytes, 12),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.r#type);
        plain::put(bytes, 4, &self.self_);
        plain::put(bytes, 8, &self.r#match);
        plain::put(bytes, 12, &self._pad_0);
    }
}

impl core::fmt::Debug for OptionType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("OptionType");
        out.field("type", &self.r#type);
        out.field("self_", &self.self_);
        out.field("match", &self.r#match);
        out.field("_pad_0", &self._pad_0);
        out.finish()
    }
}

impl Default for OptionType {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct map`: 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct MapType {
    /// At byte 0.
    pub r#fn: u32,
}

const _: () = {
    assert!(size_of::<MapType>() == 4);
    assert!(offset_of!(MapType, r#fn) == 0);
};

impl Plain for MapType {
    const SIZE: usize = 4;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            r#fn: plain::field(bytes, 0),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.r#fn);
    }
}

impl core::fmt::Debug for MapType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("MapType");
        out.field("fn", &self.r#fn);
        out.finish()
    }
}

impl Default for MapType {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct same_name`: 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SameName {
    /// At byte 0.
    pub a: u32,
}

const _: () = {
    assert!(size_of::<SameName>() == 4);
    assert!(offset_of!(SameName, a) == 0);
};

impl Plain for SameName {
    const SIZE: usize = 4;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            a: plain::field(bytes, 0),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.a);
    }
}

impl core::fmt::Debug for SameName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("SameName");
        out.field("a", &self.a);
        out.finish()
    }
}

impl Default for SameName {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct SameName`: 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SameName2 {
    /// At byte 0.
    pub b: u64,
}

const _: () = {
    assert!(size_of::<SameName2>() == 8);
    assert!(offset_of!(SameName2, b) == 0);
};

impl Plain for SameName2 {
    const SIZE: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            b: plain::field(bytes, 0),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.b);
    }
}

impl core::fmt::Debug for SameName2 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("SameName2");
        out.field("b", &self.b);
        out.finish()
    }
}

impl Default for SameName2 {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct flexible`: 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Flexible {
    /// At byte 0.
    pub length: u32,
    /// At byte 4.
    pub gap: Empty,
    /// At byte 4.
    pub data: [u16; 0],
}

const _: () = {
    assert!(size_of::<Flexible>() == 4);
    assert!(offset_of!(Flexible, length) == 0);
    assert!(offset_of!(Flexible, gap) == 4);
    assert!(offset_of!(Flexible, data) == 4);
};

impl Plain for Flexible {
    const SIZE: usize = 4;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            length: plain::field(bytes, 0),
            gap: plain::field(bytes, 4),
            data: plain::field(bytes, 4),
        }
    }

    fn encode(&self, bytes: &mut [u8]) {
        plain::put(bytes, 0, &self.length);
        plain::put(bytes, 4, &self.gap);
        plain::put(bytes, 4, &self.data);
    }
}

impl core::fmt::Debug for Flexible {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("Flexible");
        out.field("length", &self.length);
        out.field("gap", &self.gap);
        out.field("data", &self.data);
        out.finish()
    }
}

impl Default for Flexible {
    fn default() -> Self {
        Plain::zeroed()
    }
}

/// `struct empty`: 0 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Empty {}

const _: () = {
    assert!(size_of::<Empty>() == 0);
};

impl Plain for Empty {
    const SIZE: usize = 0;

    fn decode(_: &[u8]) -> Self {
        Self {}
    }

    fn encode(&self, _: &mut [u8]) {}
}

impl core::fmt::Debug for Empty {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Empty")
    }
}

impl Default for Empty {
    fn default() -> Self {
        Plain::zeroed()
    }
}
