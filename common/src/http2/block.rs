//! The fields of a header block (RFC 7541 §6): finds the status, and keeps account of what is inserted. PURE.
//!
//! The first field of a response is its status (RFC 9113 §8.3). Of all others only matters whether they are inserted, since
//! that moves the indices: their names and values are passed over.

use super::status_value::status_value;
use super::statuses::{Insertion, Statuses, UNTOLD};
use crate::window::Window;
use crate::word;

/// What the next byte of a block is.
mod place {
    pub(super) const FIELD: u8 = 0;
    /// A number goes on: the index of a field, the index of its name, the table's size, a length.
    pub(super) const INDEX: u8 = 1;
    pub(super) const NAME_INDEX: u8 = 2;
    pub(super) const SIZE: u8 = 3;
    pub(super) const NAME_NUMBER: u8 = 4;
    pub(super) const VALUE_NUMBER: u8 = 5;
    pub(super) const NAME_LENGTH: u8 = 6;
    pub(super) const VALUE_LENGTH: u8 = 7;
    pub(super) const NAME: u8 = 8;
    pub(super) const VALUE: u8 = 9;
}

/// What is known of the current field and block.
mod fact {
    /// The next field is the block's first, or this one is.
    pub(super) const FIRST: u8 = 1;
    pub(super) const INSERTS: u8 = 1 << 1;
    pub(super) const HUFFMAN: u8 = 1 << 2;
}

/// The part of a field's only byte that is an index.
const INDEX: u32 = 0x7f;
/// Longer numbers are no length or index that a peer could mean.
const MAX_SHIFT: u8 = 21;

/// Where a header block stands between two bytes. It goes on over the end of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// A number that is being read; of a name or a value, how many bytes are to come.
    number: u32,
    /// The last bytes of the first field's value.
    value: u32,
    name_index: u32,
    name_length: u32,
    value_length: u32,
    place: u8,
    facts: u8,
    shift: u8,
    reserved: u8,
}

/// What a stretch of a block held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A status, or [`UNTOLD`].
    Status(u32),
    /// What no encoder sends.
    Malformed,
}

/// What a byte completes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Nothing,
    Number,
    Text,
    /// It is what no encoder sends.
    Malformed,
}

impl Block {
    /// A new block: that of a response, or another.
    #[inline(always)]
    pub(super) const fn begin(&mut self, is_response: bool) {
        self.place = place::FIELD;
        self.facts = if is_response { fact::FIRST } else { 0 };
    }

    /// The block may end here.
    #[inline(always)]
    pub(super) const fn is_between_fields(&self) -> bool {
        self.place == place::FIELD
    }

    /// Reads on from `at` (below `end`), at least one byte; returns how many.
    ///
    /// What a number or a text leads to stands here once: the verifier follows every way through this function.
    #[inline(always)]
    pub(super) fn read<W: Window + ?Sized>(
        &mut self,
        statuses: &mut Statuses,
        window: &W,
        (at, end): (u32, u32),
    ) -> (u32, Found) {
        let here = end - at;
        if self.place == place::FIELD {
            let letters = window.word(at);
            let count = indexed_fields(letters);
            if count > 0 {
                self.number = letters as u32 & INDEX;
                let found = self.index_over(statuses);
                return (if count < here { count } else { here }, found);
            }
            if self.facts & fact::FIRST == 0 {
                let count = whole_literal(statuses, window, at, here);
                if count > 0 {
                    return (count, Found::Nothing);
                }
            }
        }
        let is_first_value = self.place == place::VALUE && self.facts & fact::FIRST != 0;
        let (count, mut over) = if self.place >= place::NAME && !is_first_value {
            let count = if self.number < here { self.number } else { here };
            self.number -= count;
            (count, if self.number == 0 { Over::Text } else { Over::Nothing })
        } else {
            (1, self.byte(window.byte(at)))
        };
        if matches!(over, Over::Number) {
            if self.place == place::INDEX {
                return (count, self.index_over(statuses));
            }
            over = self.number_over(statuses);
        }
        match over {
            Over::Text => (count, self.text_over(statuses)),
            Over::Malformed => (count, Found::Malformed),
            _ => (count, Found::Nothing),
        }
    }

    /// A byte that is part of a number, begins one, or is the first value's.
    #[inline(always)]
    fn byte(&mut self, byte: u8) -> Over {
        match self.place {
            place::FIELD => self.field(byte),
            place::NAME_LENGTH | place::VALUE_LENGTH => self.length(byte),
            place::VALUE => {
                self.value = self.value << 8 | u32::from(byte);
                self.number -= 1;
                if self.number == 0 { Over::Text } else { Over::Nothing }
            }
            _ => self.number(byte),
        }
    }

    /// The byte that begins a field, or changes the table's size.
    #[inline(always)]
    fn field(&mut self, byte: u8) -> Over {
        let (mask, kind) = if byte & 0x80 != 0 {
            (INDEX as u8, place::INDEX)
        } else if byte & 0x40 != 0 {
            (0x3f, place::NAME_INDEX)
        } else if byte & 0x20 != 0 {
            (0x1f, place::SIZE)
        } else {
            (0x0f, place::NAME_INDEX)
        };
        let inserts = if mask == 0x3f { fact::INSERTS } else { 0 };
        self.facts = self.facts & fact::FIRST | inserts;
        self.name_length = 0;
        self.number = u32::from(byte & mask);
        self.shift = 0;
        self.place = kind;
        if byte & mask == mask { Over::Nothing } else { Over::Number }
    }

    /// A byte of a number that did not fit in its first (§5.1).
    #[inline(always)]
    fn number(&mut self, byte: u8) -> Over {
        if self.shift > MAX_SHIFT {
            return Over::Malformed;
        }
        self.number += u32::from(byte & 0x7f) << (self.shift & 31);
        self.shift += 7;
        if byte & 0x80 != 0 { Over::Nothing } else { Over::Number }
    }

    /// The byte that begins a name or a value (§5.2).
    #[inline(always)]
    fn length(&mut self, byte: u8) -> Over {
        const MASK: u8 = 0x7f;
        let is_name = self.place == place::NAME_LENGTH;
        self.facts = self.facts & !fact::HUFFMAN | if byte & 0x80 != 0 { fact::HUFFMAN } else { 0 };
        self.number = u32::from(byte & MASK);
        self.shift = 0;
        self.place = if is_name { place::NAME_NUMBER } else { place::VALUE_NUMBER };
        if byte & MASK == MASK { Over::Nothing } else { Over::Number }
    }

    /// A field that is an index is complete.
    #[inline(always)]
    fn index_over(&mut self, statuses: &Statuses) -> Found {
        let is_first = self.facts & fact::FIRST != 0;
        self.begin(false);
        if !is_first {
            return Found::Nothing;
        }
        let status = statuses.at(self.number);
        Found::Status(if status == 0 { UNTOLD } else { status })
    }

    /// A number is complete: the index of a name, the table's size, a length.
    #[inline(always)]
    fn number_over(&mut self, statuses: &mut Statuses) -> Over {
        match self.place {
            place::NAME_INDEX => {
                self.name_index = self.number;
                self.place = if self.number == 0 { place::NAME_LENGTH } else { place::VALUE_LENGTH };
                return Over::Nothing;
            }
            place::SIZE => {
                statuses.resize(self.number);
                self.place = place::FIELD;
                return Over::Nothing;
            }
            place::NAME_NUMBER => {
                self.place = place::NAME;
                self.name_length = self.number;
            }
            _ => {
                self.place = place::VALUE;
                self.value_length = self.number;
            }
        }
        self.value = 0;
        if self.number == 0 { Over::Text } else { Over::Nothing }
    }

    #[inline(always)]
    fn text_over(&mut self, statuses: &mut Statuses) -> Found {
        if self.place == place::NAME {
            self.place = place::VALUE_LENGTH;
            return Found::Nothing;
        }
        let facts = self.facts;
        self.begin(false);
        let is_first = facts & fact::FIRST != 0;
        let status = if is_first { status_value(self.value, self.value_length, facts & fact::HUFFMAN != 0) } else { 0 };
        if facts & fact::INSERTS != 0 {
            let (name, value, name_index) = (self.name_length, self.value_length, self.name_index);
            statuses.insert(Insertion { name, value, name_index, status });
        }
        if is_first { Found::Status(status) } else { Found::Nothing }
    }
}

/// A field that is spelled, with its name or with that name's index, and lies whole in the next `here` bytes: returns its
/// length. 0: something else, to be looked at byte by byte.
#[inline(always)]
fn whole_literal<W: Window + ?Sized>(statuses: &mut Statuses, window: &W, at: u32, here: u32) -> u32 {
    const LONGER: u32 = 0x7f;
    let kind = u32::from(window.byte(at));
    let inserts = kind & 0xc0 == 0x40;
    let mask = if inserts { 0x3f } else { 0x0f };
    if !inserts && kind & 0xe0 != 0 {
        return 0;
    }
    let mut name_index = kind & mask;
    let mut name = 0;
    let mut length = 1;
    if name_index == 0 {
        name = u32::from(window.byte(at + 1)) & LONGER;
        length = 2 + name;
        if name == LONGER || length >= here {
            return 0;
        }
    } else if name_index == mask {
        let rest = u32::from(window.byte(at + 1));
        if rest > LONGER {
            return 0;
        }
        name_index += rest;
        length = 2;
    }
    let value = u32::from(window.byte(at + length)) & LONGER;
    length += 1 + value;
    if value == LONGER || length > here {
        return 0;
    }
    if inserts {
        statuses.insert(Insertion { name, value, name_index, status: 0 });
    }
    length
}

/// How many of the first bytes are fields of which each is a byte: an index.
#[inline(always)]
fn indexed_fields(letters: u64) -> u32 {
    let others = !letters & word::repeat(0x80) | word::equal_to(letters, 0xff);
    if others == 0 { word::BYTES } else { word::first(others & word::repeat(0x80)) }
}
