//! What of the configuration lies outside the program: variables, the file, the user. EDGE.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::settings::catalog::MAX_FILE_BYTES;
use crate::settings::config::Outside;

/// This process's own.
#[must_use]
pub fn of_process()
-> Outside<impl Fn(&str) -> Option<String> + Copy, impl FnOnce(&Path) -> Result<String, String> + Copy> {
    Outside { lookup: |name: &str| std::env::var(name).ok(), read, uid: rustix::process::getuid().as_raw() }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    match length.map_err(|error| format!("cannot be read: {error}"))? as u64 {
        ..=MAX_FILE_BYTES => Ok(text),
        _ => Err(format!("has more than {MAX_FILE_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_if_it_is_one_of_settings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(read(&path).unwrap_err().contains("No such file"));
        std::fs::write(&path, "hook: auto\n").unwrap();
        assert_eq!(read(&path).as_deref(), Ok("hook: auto\n"));
        std::fs::write(&path, " ".repeat(MAX_FILE_BYTES as usize)).unwrap();
        assert!(read(&path).is_ok());
        std::fs::write(&path, " ".repeat(MAX_FILE_BYTES as usize + 1)).unwrap();
        assert!(read(&path).unwrap_err().contains("more than"));
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read(&path).unwrap_err().contains("UTF-8"));
        assert!(read(folder.path()).unwrap_err().contains("directory"));
    }
}
