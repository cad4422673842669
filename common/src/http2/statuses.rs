//! Which statuses stand in the table of fields that both ends of an HTTP/2 connection keep (RFC 7541 §2.3). PURE.
//!
//! A field that is inserted moves all others up by one, so index `n` is the insertion `inserted - (n - 62)`, counted from one: it does not
//! matter which fields were evicted. Only statuses are kept, and of a field that may have been too large to be inserted (§4.4) it
//! is not known whether it moved the others.

use core::ops::RangeInclusive;

/// How many insertions of statuses are remembered.
const REMEMBERED: usize = 16;
/// The index of the last insertion; those below are fixed (RFC 7541 §2.3.3).
const FIRST_DYNAMIC: u32 = 62;
/// What a field counts in the table beside its bytes (§4.1).
const FIELD_OVERHEAD: u64 = 32;
/// The longest name of the fixed table has fewer bytes.
const FIXED_NAME: u64 = 32;
/// The indices whose name is `:status`, and its length.
const STATUS_NAMES: RangeInclusive<u32> = 8..=14;
const STATUS_NAME: u64 = 7;
/// The table's size before it is told (RFC 9113 §6.5.2).
const DEFAULT_SIZE: u32 = 4096;
/// A status that cannot be told; no status is that low.
pub const UNTOLD: u32 = 1;

/// The statuses in one direction's table. Fresh storage is zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    /// How many fields were inserted.
    inserted: u32,
    /// The most that the table may hold, and one more; 0 before it is told.
    size: u32,
    /// Encoded bytes of the longest name that was inserted as such: no name in the table is longer.
    longest_name: u32,
    /// How many of the fields inserted were statuses.
    count: u32,
    /// Their insertions; 0 for none.
    insertions: [u32; REMEMBERED],
    /// What they are.
    values: [u16; REMEMBERED],
}

/// A field that is inserted, in encoded bytes.
#[derive(Clone, Copy)]
pub(super) struct Insertion {
    pub(super) name: u32,
    pub(super) value: u32,
    /// The index of its name; 0 where that is spelled.
    pub(super) name_index: u32,
    /// The status that it is; 0: another field.
    pub(super) status: u32,
}

impl Statuses {
    /// The table may hold so much from now on.
    #[inline(always)]
    pub(super) const fn resize(&mut self, size: u32) {
        self.size = size.saturating_add(1);
    }

    #[inline(always)]
    pub(super) fn insert(&mut self, field: Insertion) {
        self.inserted = self.inserted.wrapping_add(1);
        // Five bits are the shortest code of a byte (RFC 7541, appendix B): at most eight bytes out of five.
        let decoded = |encoded: u32| u64::from(encoded) * 8 / 5;
        let name = if field.name_index == 0 {
            if field.name > self.longest_name {
                self.longest_name = field.name;
            }
            decoded(field.name)
        } else if STATUS_NAMES.contains(&field.name_index) {
            STATUS_NAME
        } else if field.name_index < FIRST_DYNAMIC {
            FIXED_NAME
        } else {
            decoded(self.longest_name) + FIXED_NAME
        };
        let size = if self.size == 0 { DEFAULT_SIZE } else { self.size - 1 };
        if name + decoded(field.value) + FIELD_OVERHEAD > size.into() {
            self.forget();
        } else if field.status != 0 {
            let at = self.count as usize % REMEMBERED;
            self.count = self.count.wrapping_add(1);
            if let (Some(insertion), Some(value)) = (self.insertions.get_mut(at), self.values.get_mut(at)) {
                *insertion = self.inserted;
                *value = field.status as u16;
            }
        }
    }

    /// What was inserted before cannot be found any more.
    #[inline(always)]
    fn forget(&mut self) {
        for insertion in &mut self.insertions {
            *insertion = 0;
        }
    }

    /// The status that stands at an index; 0: none is known to.
    #[inline(always)]
    pub(super) fn at(&self, index: u32) -> u32 {
        match index {
            8 => 200,
            9 => 204,
            10 => 206,
            11 => 304,
            12 => 400,
            13 => 404,
            14 => 500,
            FIRST_DYNAMIC.. => {
                let wanted = self.inserted.wrapping_sub(index - FIRST_DYNAMIC);
                let mut status = 0;
                for (insertion, value) in self.insertions.iter().zip(&self.values) {
                    // All ones where they are equal: without a branch, of which the verifier would follow both ways.
                    let mask = u64::from(insertion ^ wanted).wrapping_sub(1) >> 32;
                    status |= mask as u32 & u32::from(*value);
                }
                status
            }
            _ => 0,
        }
    }
}
