//! An ELF file of the test's own: a library with the functions that it is given.

use std::ops::Range;

/// Where the file is loaded: no offset is an address.
pub const LOADED: u64 = 0x10_0000;
/// Where functions begin, one at each multiple.
pub const FIRST: u64 = 0x100;
pub const STEP: u64 = 0x100;

const X86: u16 = 62;
pub const ARM64: u16 = 183;
const HEADER: usize = 64;

/// What the file is made of.
pub struct Made {
    machine: u16,
    symbols: Vec<(String, u64, u64)>,
    code: Vec<u8>,
    frames: Vec<Range<u64>>,
    imports: Vec<(u64, String)>,
    extra: Vec<(String, u64, Vec<u8>)>,
    pub entry: u64,
}

impl Made {
    pub fn new(machine: u16) -> Self {
        Self { machine, symbols: vec![], code: vec![], frames: vec![], imports: vec![], extra: vec![], entry: 0 }
    }

    /// A library with OpenSSL's functions, of which all but `SSL_read` do nothing.
    pub fn openssl(read: &[u8]) -> Self {
        let mut made = Self::new(X86);
        made.function("SSL_read", read);
        for name in ["SSL_set_accept_state", "SSL_set_connect_state", "SSL_free"] {
            made.function(name, &[0xc3]);
        }
        made
    }

    /// Its code, and a symbol that says how long it is.
    pub fn function(&mut self, name: &str, code: &[u8]) -> u64 {
        let address = self.place(code);
        self.symbols.push((name.to_owned(), address, code.len() as u64));
        address
    }

    /// A function without a name, of which unwinders know.
    pub fn unnamed(&mut self, code: &[u8]) -> u64 {
        let address = self.place(code);
        self.frames.push(address..address + code.len() as u64);
        address
    }

    /// Code of which nobody knows how long it is.
    pub fn endless(&mut self, name: &str, code: &[u8]) {
        let address = self.place(code);
        self.symbols.push((name.to_owned(), address, 0));
    }

    /// A stub of the procedure linkage table: `endbr64; jmp [slot]`.
    pub fn stub(&mut self, import: &str) -> u64 {
        let slot = LOADED + 0x9_0000 + self.imports.len() as u64 * 8;
        self.imports.push((slot, import.to_owned()));
        let address = LOADED + FIRST + self.code.len() as u64;
        let distance = (slot - (address + 10)) as u32;
        self.place(&[&[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25], &distance.to_le_bytes()[..], &[0; 6]].concat())
    }

    /// Another section, loaded there.
    pub fn section(&mut self, name: &str, address: u64, bytes: Vec<u8>) {
        self.extra.push((name.to_owned(), address, bytes));
    }

    /// A place in memory that holds an address of the file's own.
    pub fn relocation(&mut self, slot: u64) {
        self.imports.push((slot, String::new()));
    }

    /// Where the next function will be.
    pub fn next(&self) -> u64 {
        LOADED + FIRST + self.code.len() as u64
    }

    pub fn place(&mut self, code: &[u8]) -> u64 {
        let address = self.next();
        self.code.extend(code);
        let full = self.code.len().next_multiple_of(STEP as usize);
        self.code.resize(full, 0xcc);
        address
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut names = vec![0];
        let mut name = |text: &str| {
            let at = names.len() as u32;
            names.extend(text.as_bytes());
            names.push(0);
            at
        };
        let mut symbols = vec![0; 24];
        for (text, address, size) in &self.symbols {
            symbols.extend(symbol(name(text), 1, *address, *size));
        }
        let mut relocations = Vec::new();
        for (index, (slot, text)) in self.imports.iter().enumerate() {
            symbols.extend(symbol(name(text), 0, 0, 0));
            // The kind does not matter here; one without a name is the file's own.
            let number = if text.is_empty() { 0 } else { (self.symbols.len() + 1 + index) as u64 };
            relocations.extend(
                [slot.to_le_bytes(), (number << 32 | 7).to_le_bytes(), (LOADED + FIRST).to_le_bytes()].concat(),
            );
        }
        let (frames, table) = frames(&self.frames);
        let mut sections = vec![
            ("", 0_u32, 0_u64, vec![]),
            (".dynstr", 3, 0, names),
            (".dynsym", 11, 0, symbols),
            (".rela.plt", 4, 0, relocations),
        ];
        if !self.frames.is_empty() {
            sections.extend([(".eh_frame", 1, LOADED + FRAMES, frames), (".eh_frame_hdr", 1, LOADED + TABLE, table)]);
        }
        sections.extend(self.extra.iter().map(|(name, address, bytes)| (name.as_str(), 1, *address, bytes.clone())));
        sections.push((".shstrtab", 3, 0, vec![]));
        let (mut texts, mut name_at) = (vec![0], Vec::new());
        for (text, ..) in &sections {
            name_at.push(texts.len() as u32);
            texts.extend(text.as_bytes());
            texts.push(0);
        }
        sections.last_mut().unwrap().3 = texts;
        let mut file = vec![0; HEADER + 56];
        file.resize(FIRST as usize, 0);
        file.extend(&self.code);
        let loaded = file.len() as u64;
        let mut headers = Vec::new();
        for ((_, kind, address, bytes), name) in sections.iter().zip(name_at) {
            let offset = file.len().next_multiple_of(16);
            file.resize(offset, 0);
            file.extend(bytes);
            // The symbols' names are in the first section, the relocations' symbols in the second.
            let (link, entry) = match kind {
                11 => (1_u32, 24_u64),
                4 => (2, 24),
                _ => (0, 0),
            };
            headers.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
            headers.extend([2_u64, *address, offset as u64, bytes.len() as u64].map(u64::to_le_bytes).concat());
            headers.extend([link, 0].map(u32::to_le_bytes).concat());
            headers.extend([8, entry].map(u64::to_le_bytes).concat());
        }
        let at = file.len().next_multiple_of(8);
        file.resize(at, 0);
        file.extend(&headers);
        file[..HEADER].copy_from_slice(&self.header(at as u64, sections.len() as u16));
        file[HEADER..HEADER + 56].copy_from_slice(&segment(loaded));
        file
    }

    fn header(&self, sections_at: u64, sections: u16) -> Vec<u8> {
        let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        header.extend([3, self.machine].map(u16::to_le_bytes).concat());
        header.extend(1_u32.to_le_bytes());
        header.extend([self.entry, HEADER as u64, sections_at].map(u64::to_le_bytes).concat());
        header.extend(0_u32.to_le_bytes());
        header.extend([HEADER as u16, 56, 1, 64, sections, sections - 1].map(u16::to_le_bytes).concat());
        header
    }
}

const FRAMES: u64 = 0x8_0000;
const TABLE: u64 = 0x8_8000;

/// One segment, read and run.
fn segment(size: u64) -> Vec<u8> {
    let mut segment = [1_u32, 5].map(u32::to_le_bytes).concat();
    segment.extend([0, LOADED, LOADED, size, size, 0x1000].map(u64::to_le_bytes).concat());
    segment
}

fn symbol(name: u32, section: u16, address: u64, size: u64) -> Vec<u8> {
    let mut symbol = name.to_le_bytes().to_vec();
    symbol.extend([0x12, 0]);
    symbol.extend(section.to_le_bytes());
    symbol.extend([address, size].map(u64::to_le_bytes).concat());
    symbol
}

/// What unwinders are told (Linux Standard Base, "DWARF Extensions"): the entries, and the table to find them by.
fn frames(ranges: &[Range<u64>]) -> (Vec<u8>, Vec<u8>) {
    let relative = |to: u64, from: u64| (to.wrapping_sub(from) as u32).to_le_bytes();
    // A common entry: version 1, "zR", addresses relative to where they stand, in four bytes.
    let mut frames =
        [&20_u32.to_le_bytes()[..], &[0, 0, 0, 0, 1], b"zR\0", &[1, 0x78, 16, 1, 0x1b, 0, 0, 0, 0, 0, 0, 0]].concat();
    let mut table = [&[1, 0x1b, 0x03, 0x3b][..], &relative(LOADED + FRAMES, LOADED + TABLE + 4)].concat();
    table.extend((ranges.len() as u32).to_le_bytes());
    for range in ranges {
        let at = LOADED + FRAMES + frames.len() as u64;
        table.extend([relative(range.start, LOADED + TABLE), relative(at, LOADED + TABLE)].concat());
        frames.extend([16_u32, frames.len() as u32 + 4].map(u32::to_le_bytes).concat());
        frames.extend(relative(range.start, at + 8));
        frames.extend(((range.end - range.start) as u32).to_le_bytes());
        frames.extend([0; 4]);
    }
    frames.extend([0; 4]);
    (frames, table)
}
