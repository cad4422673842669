//! Finds a folder in which the plugin socket can be. EDGE.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::process::getuid;
use tokio::net::UnixListener;

use super::root::PluginsRoot;
use super::socket::{ClaimError, Socket};

/// Claims the socket in the first of the folders that lets it.
///
/// # Errors
///
/// That of the first folder, if none does; an agent that serves there already ends the search.
pub fn claim_first(root: &PluginsRoot) -> Result<(Socket, UnixListener), ClaimError> {
    let first = match Socket::claim(&root.path) {
        Err(error @ ClaimError::Io { .. }) => error,
        decided => return decided,
    };
    for fallback in &root.fallbacks {
        match own_folder(fallback).map(|()| Socket::claim(fallback)) {
            Ok(Ok(claimed)) => {
                tracing::warn!(cause = %first, used = %fallback.display(),
                    "Scope will not find the plugin: it looks in {} only", root.path.display());
                return Ok(claimed);
            }
            Ok(Err(error @ ClaimError::InUse(_))) => return Err(error),
            Ok(Err(error)) => tracing::debug!(%error, "no place for the socket"),
            Err(error) => tracing::debug!(%error, folder = %fallback.display(), "no place for the socket"),
        }
    }
    Err(first)
}

/// Creates the folder for this user alone. Its parent may be everybody's (/tmp), so one that is
/// there already must be this user's.
fn own_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = fs::symlink_metadata(folder)?;
    if metadata.is_dir() && metadata.uid() == getuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not this user's own folder"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::plugin::socket_path;
    use std::path::PathBuf;

    fn root(path: PathBuf, fallbacks: Vec<PathBuf>) -> PluginsRoot {
        PluginsRoot { path, fallbacks }
    }

    #[tokio::test]
    async fn the_first_folder_that_lets_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("file"), folder.path().join("other"));
        fs::write(&file, "").unwrap();
        let below_a_file = file.join("plugins");
        let (socket, _listener) = claim_first(&root(below_a_file.clone(), vec![below_a_file, other.clone()])).unwrap();
        assert_eq!(socket.path(), socket_path(&other));
        assert_eq!(fs::metadata(&other).unwrap().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_live_agent_ends_the_search() {
        let folder = tempfile::tempdir().unwrap();
        let (first, other) = (folder.path().join("first"), folder.path().join("other"));
        let _claimed = Socket::claim(&first).unwrap();
        let error = claim_first(&root(first, vec![other.clone()])).unwrap_err();
        assert!(matches!(error, ClaimError::InUse(_)), "{error}");
        assert!(!other.exists());
    }

    #[tokio::test]
    async fn no_place_names_the_one_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let error = claim_first(&root(file.join("plugins"), vec![file.join("other"), link])).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot create ") && text.contains("file/plugins/http-requests"), "{text}");
    }
}
