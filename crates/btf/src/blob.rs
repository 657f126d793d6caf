//! `Btf`: the bytes, their checked layout, and one offset per type.

use core::fmt;
use std::sync::{Arc, OnceLock};

use crate::Error;
use crate::bytes::{Endian, c_string};
use crate::index::NameIndex;
use crate::kind::Kind;
use crate::search::Asked;
use crate::types::Type;

/// Number of a type; 0 is `void`. Types of split BTF continue their base's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

impl TypeId {
    /// The type `void`.
    pub const VOID: TypeId = TypeId(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// BTF whose layout has been checked; clones share one copy.
///
/// Every query is total: an id or a name that does not exist gives `None`, as does following a
/// reference that a malformed blob leaves dangling ([`Btf::validate`] names those).
#[derive(Clone)]
pub struct Btf {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    pub(crate) endian: Endian,
    types: Section,
    strings: Section,
    /// Offset of each own type in the section of types.
    offsets: Vec<u32>,
    pub(crate) base: Option<Btf>,
    /// Number of the first own type: 1, or the number of types of the base.
    pub(crate) first_id: u32,
    /// Offset that the first own string has in references to strings.
    first_string: u32,
    pub(crate) names: OnceLock<NameIndex>,
    /// Names that were asked for before they were indexed.
    pub(crate) asked: Asked,
    pub(crate) enumerators: OnceLock<NameIndex>,
}

/// A part of the blob: `start..end` in bytes, checked to lie inside it.
#[derive(Clone, Copy)]
struct Section {
    start: usize,
    end: usize,
}

impl Section {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// Size in bytes of `struct btf_type`.
pub(crate) const TYPE_HEADER: usize = 12;
const MAGIC: u16 = 0xeb9f;

impl Btf {
    /// Reads a blob that stands on its own, such as vmlinux BTF.
    ///
    /// # Errors
    /// Where the header is not BTF's, or a type or string lies outside of its section.
    pub fn parse<B>(bytes: B) -> Result<Btf, Error>
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        Btf::parse_with(Box::new(bytes), None)
    }

    /// Reads a blob whose types and strings continue those of `base`, such as a module's BTF.
    ///
    /// # Errors
    /// As [`Btf::parse`], and where the byte orders differ.
    pub fn parse_split<B>(bytes: B, base: &Btf) -> Result<Btf, Error>
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        Btf::parse_with(Box::new(bytes), Some(base.clone()))
    }

    /// Tells whether a blob continues another, as a module's does the kernel's: then its strings do
    /// not begin with the empty one, and [`Btf::parse_split`] is to read it.
    #[must_use]
    pub fn is_split(bytes: &[u8]) -> bool {
        let header = Header::parse(bytes);
        header.is_ok_and(|header| header.strings.of(bytes).first() != Some(&0))
    }

    fn parse_with(
        bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
        base: Option<Btf>,
    ) -> Result<Btf, Error> {
        let blob: &[u8] = (*bytes).as_ref();
        let header = Header::parse(blob)?;
        if base
            .as_ref()
            .is_some_and(|b| b.inner.endian != header.endian)
        {
            return Err(Error::EndianOfBase);
        }
        let strings = header.strings.of(blob);
        // The first string of a blob without base is the empty one; the last ends in a NUL.
        if base.is_none() && strings.first() != Some(&0) {
            return Err(Error::Malformed {
                what: "strings",
                offset: header.strings.start,
            });
        }
        if strings.last().is_some_and(|&b| b != 0) {
            return Err(Error::Malformed {
                what: "end of strings",
                offset: header.strings.end,
            });
        }
        let (first_id, first_string) = match &base {
            Some(b) => (b.type_count(), b.string_end()),
            None => (1, 0),
        };
        let offsets = match header.endian {
            Endian::Little => walk(u32::from_le_bytes, &header, blob, first_id)?,
            Endian::Big => walk(u32::from_be_bytes, &header, blob, first_id)?,
        };
        // References to strings are 32-bit over base and split together.
        let own = (header.strings.end - header.strings.start) as u64;
        if u64::from(first_string) + own > u64::from(u32::MAX) {
            return Err(Error::Malformed {
                what: "strings",
                offset: header.strings.start,
            });
        }
        Ok(Btf {
            inner: Arc::new(Inner {
                endian: header.endian,
                types: header.types,
                strings: header.strings,
                bytes,
                offsets,
                base,
                first_id,
                first_string,
                names: OnceLock::new(),
                asked: Asked::default(),
                enumerators: OnceLock::new(),
            }),
        })
    }

    /// Gives the number of types, those of the base and `void` included: ids are below it.
    #[must_use]
    pub fn type_count(&self) -> u32 {
        self.inner.first_id + self.inner.offsets.len() as u32
    }

    /// Gives the ids of all types but `void`, those of the base first.
    pub fn ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (1..self.type_count()).map(TypeId)
    }

    /// Gives the ids of the types that this blob adds to its base (all of them without a base).
    pub fn own_ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (self.inner.first_id..self.type_count()).map(TypeId)
    }

    /// Gives the BTF that this blob continues.
    #[must_use]
    pub fn base(&self) -> Option<&Btf> {
        self.inner.base.as_ref()
    }

    /// Gives the byte order of the blob.
    #[must_use]
    pub fn endian(&self) -> Endian {
        self.inner.endian
    }

    /// Gives the blob itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        (*self.inner.bytes).as_ref()
    }

    /// Decodes a type.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<Type<'_>> {
        if id == TypeId::VOID {
            return Some(Type::Void);
        }
        Type::decode(self, self.raw(id)?)
    }

    /// Gives the kind of a type without decoding the rest.
    #[must_use]
    pub fn kind(&self, id: TypeId) -> Option<Kind> {
        if id == TypeId::VOID {
            return Some(Kind::Void);
        }
        Some(self.raw(id)?.kind())
    }

    /// Gives the name of a type; empty for the anonymous ones.
    #[must_use]
    pub fn name(&self, id: TypeId) -> Option<&str> {
        if id == TypeId::VOID {
            return Some("void");
        }
        self.string(self.raw(id)?.name)
    }

    /// Gives the string at `offset` as references to strings count, base first; none where it is
    /// not UTF-8 or longer than 4096 bytes.
    #[must_use]
    pub fn string(&self, offset: u32) -> Option<&str> {
        c_string(self.string_bytes(offset)?)
    }

    /// Gives the bytes from the string at `offset` on.
    pub(crate) fn string_bytes(&self, offset: u32) -> Option<&[u8]> {
        let mut btf = self;
        // Each step goes to a base whose strings begin lower.
        while offset < btf.inner.first_string {
            btf = btf.inner.base.as_ref()?;
        }
        let strings = btf.inner.strings.of(btf.bytes());
        strings.get((offset - btf.inner.first_string) as usize..)
    }

    /// Gives the byte offset of a type in the blob it belongs to; 0 for one that does not exist.
    #[must_use]
    pub fn offset_of(&self, id: TypeId) -> usize {
        let Some(owner) = self.owner(id) else {
            return 0;
        };
        let at = owner
            .inner
            .offsets
            .get((id.0 - owner.inner.first_id) as usize);
        owner.inner.types.start + at.map_or(0, |&at| at as usize)
    }

    /// Gives the blob of the chain to which the type belongs.
    fn owner(&self, id: TypeId) -> Option<&Btf> {
        let mut btf = self;
        while id.0 < btf.inner.first_id {
            btf = btf.inner.base.as_ref()?;
        }
        Some(btf)
    }

    /// Gives the header of a type and what follows it.
    #[inline]
    pub(crate) fn raw(&self, id: TypeId) -> Option<Raw<'_>> {
        let owner = self.owner(id)?;
        let inner = &*owner.inner;
        let at = *inner.offsets.get((id.0 - inner.first_id) as usize)? as usize;
        let types = inner.types.of(owner.bytes());
        let e = inner.endian;
        Some(Raw {
            endian: e,
            name: e.u32(types, at)?,
            info: e.u32(types, at + 4)?,
            size_or_type: e.u32(types, at + 8)?,
            rest: types.get(at + TYPE_HEADER..)?,
        })
    }

    /// Gives the kind and the bytes from the name on of each own type that has a name, ascending;
    /// `None` for the others. For walks over all of them: the blob is asked for once.
    pub(crate) fn own_names(&self) -> impl Iterator<Item = Option<(Kind, &[u8])>> {
        let inner = &*self.inner;
        let blob = self.bytes();
        let (types, strings) = (inner.types.of(blob), inner.strings.of(blob));
        inner.offsets.iter().map(move |&at| {
            let at = at as usize;
            let name = inner.endian.u32(types, at).filter(|&name| name != 0)?;
            let kind = Kind::from_number(kind_of(inner.endian.u32(types, at + 4)?));
            let text = match name.checked_sub(inner.first_string) {
                Some(own) => strings.get(own as usize..)?,
                None => self.string_bytes(name)?,
            };
            Some((kind, text))
        })
    }

    /// Gives the reference to the name of each own type, ascending; 0 for those that have none.
    pub(crate) fn own_references(&self) -> impl Iterator<Item = u32> {
        let inner = &*self.inner;
        let types = inner.types.of(self.bytes());
        let name = move |&at: &u32| inner.endian.u32(types, at as usize).unwrap_or(0);
        inner.offsets.iter().map(name)
    }

    /// Gives the own strings, and what references to them begin with.
    pub(crate) fn own_strings(&self) -> (u32, &[u8]) {
        let inner = &*self.inner;
        (inner.first_string, inner.strings.of(self.bytes()))
    }

    /// Gives the offset that follows the last string.
    fn string_end(&self) -> u32 {
        let own = self.inner.strings.end - self.inner.strings.start;
        self.inner.first_string.saturating_add(own as u32)
    }
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("types", &self.type_count())
            .field("bytes", &self.bytes().len())
            .field("split", &self.inner.base.is_some())
            .finish()
    }
}

/// The header of one type and the bytes after it.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) endian: Endian,
    pub(crate) name: u32,
    pub(crate) info: u32,
    pub(crate) size_or_type: u32,
    pub(crate) rest: &'a [u8],
}

impl Raw<'_> {
    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_number(kind_of(self.info))
    }

    #[inline]
    pub(crate) fn flag(&self) -> bool {
        self.info >> 31 != 0
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        count_of(self.info)
    }
}

/// Takes the kind out of `btf_type.info`. Seven bits since Linux 7.2; two of them were zero before.
#[inline]
fn kind_of(info: u32) -> u8 {
    (info >> 24) as u8 & 0x7f
}

/// Takes the number of elements out of `btf_type.info`. 24 bits since Linux 7.2; the upper eight
/// were zero before.
#[inline]
fn count_of(info: u32) -> usize {
    (info & 0x00ff_ffff) as usize
}

/// `struct btf_header`, its sections as ranges of the whole blob.
struct Header {
    endian: Endian,
    types: Section,
    strings: Section,
    /// Sizes of kinds by their number, in blobs of Linux 7.2 and later.
    layout: Option<Section>,
}

impl Header {
    fn parse(blob: &[u8]) -> Result<Header, Error> {
        let first: [u8; 4] = *blob.first_chunk().ok_or(Error::NotBtf)?;
        let endian = if u16::from_le_bytes([first[0], first[1]]) == MAGIC {
            Endian::Little
        } else if u16::from_be_bytes([first[0], first[1]]) == MAGIC {
            Endian::Big
        } else {
            return Err(Error::NotBtf);
        };
        if first[2] != 1 {
            return Err(Error::Version(first[2]));
        }
        let field = |offset: usize| {
            endian
                .u32(blob, offset)
                .map(|v| v as usize)
                .ok_or(Error::Malformed {
                    what: "header",
                    offset,
                })
        };
        let header_len = field(4)?;
        if header_len < 24 || header_len > blob.len() {
            return Err(Error::Malformed {
                what: "length of the header",
                offset: 4,
            });
        }
        let section = |what: &'static str, at: usize| {
            let start = field(at)?.checked_add(header_len);
            let len = field(at + 4)?;
            let end = start.and_then(|s| s.checked_add(len));
            match (start, end) {
                // The offsets table holds 32-bit offsets.
                (Some(start), Some(end)) if end <= blob.len() && len <= u32::MAX as usize => {
                    Ok(Section { start, end })
                }
                _ => Err(Error::Malformed { what, offset: at }),
            }
        };
        Ok(Header {
            endian,
            types: section("place of the types", 8)?,
            strings: section("place of the strings", 16)?,
            layout: match header_len {
                32.. => Some(section("place of the layout", 24)?),
                _ => None,
            },
        })
    }

    /// Gives the bytes that follow a type's header: once, and per element.
    fn sizes(&self, blob: &[u8], kind: u8) -> Option<(usize, usize)> {
        if let Some(known) = Kind::sizes_of(kind) {
            return Some(known);
        }
        let at = usize::from(kind).checked_mul(4)?;
        let entry = self.layout?.of(blob).get(at..)?.first_chunk::<4>()?;
        // An entry for a kind that the writer left out is all zero; kind 0 is no type.
        (kind != 0 && *entry != [0; 4]).then_some((entry[0].into(), entry[1].into()))
    }
}

/// Finds where each type begins, and that all of it lies inside the section of types.
#[inline]
fn walk(
    u32_of: impl Fn([u8; 4]) -> u32,
    header: &Header,
    blob: &[u8],
    first_id: u32,
) -> Result<Vec<u32>, Error> {
    let types = header.types.of(blob);
    let start = header.types.start;
    // 25 to 27 bytes are a kernel's mean; the vector grows where it is less.
    let mut offsets = Vec::with_capacity(types.len() / 24);
    let mut at = 0usize;
    while at < types.len() {
        let cut = Error::Malformed {
            what: "type",
            offset: start + at,
        };
        let Some(head) = types.get(at..).and_then(<[u8]>::first_chunk::<TYPE_HEADER>) else {
            return Err(cut);
        };
        let info = u32_of([head[4], head[5], head[6], head[7]]);
        let kind = kind_of(info);
        let Some((once, each)) = header.sizes(blob, kind) else {
            return Err(Error::UnknownKind {
                kind,
                offset: start + at,
            });
        };
        offsets.push(at as u32);
        // At most 12 + 255 + 255 * 2^24: no overflow.
        at += TYPE_HEADER + once + each * count_of(info);
        if at > types.len() {
            return Err(cut);
        }
    }
    if u32::try_from(offsets.len())
        .ok()
        .and_then(|n| n.checked_add(first_id))
        .is_none()
    {
        return Err(Error::Malformed {
            what: "number of types",
            offset: start,
        });
    }
    offsets.shrink_to_fit();
    Ok(offsets)
}
