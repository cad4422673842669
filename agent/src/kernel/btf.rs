//! Reads member offsets from the kernel's BTF (Documentation/bpf/btf.rst). PURE.
//!
//! aya parses BTF but does not show the members of structures, and this is all that is needed.

use std::fmt;

pub const MAGIC: u16 = 0xeb9f;
/// Of a type without anything that follows.
pub const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const ENUMERATOR_BYTES: usize = 8;
/// What a type is (`BTF_KIND_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(pub u32);
/// A structure.
pub const STRUCTURE: Kind = Kind(KIND_STRUCT);
const UNION: Kind = Kind(KIND_UNION);
const ENUMERATION: Kind = Kind(KIND_ENUM);
/// A structure of which there is the name alone.
pub const FORWARD: Kind = Kind(7);
/// A typedef.
pub const TYPEDEF: Kind = Kind(8);
/// A function.
pub const FUNCTION: Kind = Kind(12);
/// How many kinds there may be.
const KINDS: usize = 32;
/// Anonymous structures nest; the kernel's own are at most three deep.
const MAX_DEPTH: u32 = 8;

/// Why a member was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not BTF, or cut short.
    Malformed,
    /// The kernel has no such structure.
    NoStructure(String),
    /// The structure has no such member, or it is a bit field; or the enumeration has no such value.
    NoMember(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "the kernel's BTF is malformed"),
            Self::NoStructure(name) => write!(f, "the kernel's BTF has no structure {name}"),
            Self::NoMember(name) => write!(f, "the kernel's BTF has no member {name}"),
        }
    }
}

impl std::error::Error for Error {}

/// The types of a BTF blob of this machine's byte order.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type starts, by its id less 1.
    starts: Vec<u32>,
    /// The ids of each kind that has names which are looked for: there are ten times as many others.
    named: [Vec<u32>; KINDS],
}

struct Type<'a> {
    kind: u32,
    /// Of a structure, in bytes.
    size: u32,
    /// Bit offsets are mixed with bit-field sizes.
    has_bit_fields: bool,
    members: &'a [u8],
}

impl<'a> Btf<'a> {
    /// Indexes a blob.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when it is not BTF.
    pub fn parse(blob: &'a [u8]) -> Result<Self, Error> {
        let magic = blob.get(..2).ok_or(Error::Malformed)?;
        if magic != MAGIC.to_ne_bytes() {
            return Err(Error::Malformed);
        }
        let header_bytes = u32_at(blob, 4)? as usize;
        let section = |offset: usize, length: usize| -> Result<&'a [u8], Error> {
            let start = header_bytes.checked_add(u32_at(blob, offset)? as usize).ok_or(Error::Malformed)?;
            let end = start.checked_add(u32_at(blob, length)? as usize).ok_or(Error::Malformed)?;
            blob.get(start..end).ok_or(Error::Malformed)
        };
        let (types, strings) = (section(8, 12)?, section(16, 20)?);
        let (mut starts, mut named) = (Vec::new(), [const { Vec::new() }; KINDS]);
        let mut at = 0;
        while at < types.len() {
            starts.push(u32::try_from(at).map_err(|_| Error::Malformed)?);
            let info = u32_at(types, at + 4)?;
            if u32_at(types, at)? != 0 {
                named[kind(info) as usize].push(starts.len() as u32);
            }
            at += TYPE_BYTES + extra_bytes(info)?;
        }
        Ok(Self { types, strings, starts, named })
    }

    /// The offset in bytes of `structure.member`, also within anonymous structures and unions; or of `structure.member.member`.
    ///
    /// # Errors
    ///
    /// When there is no such structure, or it has no such member.
    pub fn offset_of(&self, structure: &str, member: &str) -> Result<u32, Error> {
        let mut exists = false;
        for id in self.ids(STRUCTURE, structure).chain(self.ids(UNION, structure)) {
            exists = true;
            if let Some(bits) = self.find(&self.get(id)?, member, MAX_DEPTH)?.filter(|bits| bits % 8 == 0) {
                return Ok(bits / 8);
            }
        }
        let name = format!("{structure}.{member}");
        Err(if exists { Error::NoMember(name) } else { Error::NoStructure(structure.to_owned()) })
    }

    /// The id of the first type of this kind and name.
    #[must_use]
    pub fn id_of(&self, kind: Kind, name: &str) -> Option<u32> {
        self.ids(kind, name).next()
    }

    /// The size of a structure in bytes.
    ///
    /// # Errors
    ///
    /// When there is no such structure.
    pub fn size_of(&self, structure: &str) -> Result<u32, Error> {
        let id = self.id_of(STRUCTURE, structure).ok_or_else(|| Error::NoStructure(structure.to_owned()))?;
        Ok(self.get(id)?.size)
    }

    /// The value of `enumeration.name`.
    ///
    /// # Errors
    ///
    /// When there is no such enumeration, or it has no such name.
    pub fn value_of(&self, enumeration: &str, name: &str) -> Result<u32, Error> {
        for id in self.ids(ENUMERATION, enumeration) {
            for entry in self.get(id)?.members.chunks_exact(ENUMERATOR_BYTES) {
                if self.is_named(u32_at(entry, 0)?, name) {
                    return u32_at(entry, 4);
                }
            }
        }
        Err(Error::NoMember(format!("{enumeration}.{name}")))
    }

    /// Every type of this kind and name, in order.
    fn ids(&self, kind: Kind, name: &str) -> impl Iterator<Item = u32> {
        let ids = self.named.get(kind.0 as usize).into_iter().flatten().copied();
        ids.filter(move |id| self.name_of(*id).is_some_and(|of| self.is_named(of, name)))
    }

    fn name_of(&self, id: u32) -> Option<u32> {
        let at = *self.starts.get(id as usize - 1)?;
        u32_at(self.types, at as usize).ok()
    }

    fn find(&self, structure: &Type<'_>, member: &str, depth: u32) -> Result<Option<u32>, Error> {
        if depth == 0 {
            return Ok(None);
        }
        let (first, rest) = member.split_once('.').map_or((member, None), |(first, rest)| (first, Some(rest)));
        for entry in structure.members.chunks_exact(MEMBER_BYTES) {
            let (name, inner, offset) = (u32_at(entry, 0)?, u32_at(entry, 4)?, u32_at(entry, 8)?);
            let (bits, width) = if structure.has_bit_fields { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            if self.is_named(name, first) {
                let Some(rest) = rest else { return Ok((width == 0).then_some(bits)) };
                let found = self.find(&self.get(inner)?, rest, depth - 1)?;
                return Ok(found.map(|found| bits + found));
            }
            if self.is_named(name, "") {
                let inner = self.get(inner)?;
                if matches!(inner.kind, KIND_STRUCT | KIND_UNION)
                    && let Some(found) = self.find(&inner, member, depth - 1)?
                {
                    return Ok(Some(bits + found));
                }
            }
        }
        Ok(None)
    }

    fn get(&self, id: u32) -> Result<Type<'a>, Error> {
        let index = (id as usize).checked_sub(1).ok_or(Error::Malformed)?;
        let at = *self.starts.get(index).ok_or(Error::Malformed)? as usize;
        let info = u32_at(self.types, at + 4)?;
        let start = at + TYPE_BYTES;
        let members = self.types.get(start..start + extra_bytes(info)?).ok_or(Error::Malformed)?;
        Ok(Type { kind: kind(info), size: u32_at(self.types, at + 8)?, has_bit_fields: info >> 31 == 1, members })
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let Some(rest) = self.strings.get(offset as usize..) else { return false };
        rest.get(..name.len()) == Some(name.as_bytes()) && rest.get(name.len()) == Some(&0)
    }
}

const fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// How many bytes follow a type's common part.
fn extra_bytes(info: u32) -> Result<usize, Error> {
    let count = (info & 0xffff) as usize;
    Ok(match kind(info) {
        // Integers, variables and declaration tags carry one number.
        1 | 14 | 17 => 4,
        // Arrays carry three.
        3 => 12,
        // Sections of data, and enumerations of 64 bits, too.
        KIND_STRUCT | KIND_UNION | 15 | 19 => MEMBER_BYTES * count,
        // Prototypes, too.
        KIND_ENUM | 13 => ENUMERATOR_BYTES * count,
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, type tags.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return Err(Error::Malformed),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Error> {
    let end = at.checked_add(4).ok_or(Error::Malformed)?;
    let word = bytes.get(at..end).and_then(|word| word.try_into().ok()).ok_or(Error::Malformed)?;
    Ok(u32::from_ne_bytes(word))
}
