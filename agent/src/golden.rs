//! Compares with what is committed in `tests/golden`; `UPDATE_GOLDEN=1 cargo test` rewrites it. EDGE, tests only.

use std::path::Path;
use std::{env, fs};

/// Fails if the golden file says something else.
#[track_caller]
pub(crate) fn check(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name} differs; if that is right: UPDATE_GOLDEN=1 cargo test");
}
