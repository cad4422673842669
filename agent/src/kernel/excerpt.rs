//! The few of the kernel's types by which programs are attached, each at its own id. PURE.
//!
//! aya looks for a hook's id in what it parsed of the kernel's types. All of them take three times as much memory as they have
//! bytes, for as long as programs are loaded; of these it keeps the numbers alone.

use super::btf::{Btf, FORWARD, Kind, TYPE_BYTES};

const HEADER_BYTES: u32 = 24;
const VERSION: u8 = 1;

/// BTF in which the types of these names have the ids that they have in `types`. Those that are not there are left out.
pub fn excerpt(types: &Btf<'_>, wanted: &[(Kind, &str)]) -> Vec<u8> {
    let mut found = Vec::new();
    for &(kind, name) in wanted {
        found.extend(types.id_of(kind, name).map(|id| (id, kind, name)));
    }
    found.sort_unstable();
    let last = found.last().map_or(0, |(id, ..)| *id);
    let type_bytes = last * TYPE_BYTES as u32;
    let string_bytes: usize = found.iter().map(|(.., name)| name.len() + 1).sum();
    let mut blob = Vec::with_capacity((HEADER_BYTES + type_bytes) as usize + 1 + string_bytes);
    blob.extend(super::btf::MAGIC.to_ne_bytes());
    blob.extend([VERSION, 0]);
    for word in [HEADER_BYTES, 0, type_bytes, type_bytes, 1 + string_bytes as u32] {
        blob.extend(word.to_ne_bytes());
    }
    let mut strings = vec![0];
    let mut next = found.iter().peekable();
    for id in 1..=last {
        let (name, kind) = match next.next_if(|(found, ..)| *found == id) {
            Some((_, kind, name)) => {
                let at = strings.len() as u32;
                strings.extend(name.bytes().chain([0]));
                (at, *kind)
            }
            None => (0, FORWARD),
        };
        for word in [name, kind.0 << 24, 0] {
            blob.extend(word.to_ne_bytes());
        }
    }
    blob.extend(strings);
    blob
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::{FUNCTION, TYPEDEF};

    /// BTF of these types, at the ids from 1 on.
    fn described(types: &[(Kind, &str)]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut described = Vec::new();
        for (kind, name) in types {
            described.extend([strings.len() as u32, kind.0 << 24, 0].map(u32::to_ne_bytes).concat());
            strings.extend(name.bytes().chain([0]));
        }
        let length = described.len() as u32;
        let header = [HEADER_BYTES, 0, length, length, strings.len() as u32].map(u32::to_ne_bytes).concat();
        [&crate::kernel::btf::MAGIC.to_ne_bytes()[..], &[VERSION, 0], &header, &described, &strings].concat()
    }

    #[test]
    fn types_keep_their_ids() -> Result<(), Box<dyn std::error::Error>> {
        let all = described(&[
            (TYPEDEF, "one"),
            (FUNCTION, "other"),
            (FUNCTION, "two"),
            (TYPEDEF, "two"),
            (FUNCTION, "last"),
        ]);
        let types = Btf::parse(&all)?;
        let blob = excerpt(&types, &[(FUNCTION, "two"), (TYPEDEF, "one"), (FUNCTION, "missing"), (TYPEDEF, "two")]);
        let kept = Btf::parse(&blob)?;
        for (kind, name, id) in [(TYPEDEF, "one", 1), (FUNCTION, "two", 3), (TYPEDEF, "two", 4)] {
            assert_eq!((kept.id_of(kind, name), types.id_of(kind, name)), (Some(id), Some(id)), "{name}");
        }
        assert_eq!(kept.id_of(FUNCTION, "other"), None);
        assert_eq!(kept.id_of(FUNCTION, "missing"), None);
        assert_eq!(excerpt(&types, &[]).len(), HEADER_BYTES as usize + 1);
        Ok(())
    }
}
