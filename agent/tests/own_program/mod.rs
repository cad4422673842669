//! This program as a file with probes, as a TLS library is.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use agent::tls::library::{FileId, Library};
use agent::tls::place::{Kind, Place, Places};

/// A file with probes at these places.
pub fn library_of(file: File, places: Vec<Place>) -> io::Result<Library> {
    let about = file.metadata()?;
    let changed = (about.ctime(), about.ctime_nsec() as u32);
    let id = FileId { device: about.dev(), inode: about.ino(), changed, size: about.len() };
    let places = Places::new(Kind::OpenSsl, places);
    Ok(Library { file: OwnedFd::from(file), id, places, name: "this program".to_owned() })
}

/// Where in its file an address lies, by `/proc/self/maps`.
pub fn offset(maps: &str, address: u64) -> Option<u64> {
    maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (start, end, offset) = (number(start)?, number(end)?, number(fields.nth(1)?)?);
        (start..end).contains(&address).then(|| address - start + offset)
    })
}
