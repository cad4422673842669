//! Finds a folder in which the plugin socket can be. EDGE.

use tokio::net::UnixListener;

use super::folder;
use super::root::PluginsRoot;
use super::socket::{ClaimError, Socket};

/// Claims the socket in the first of the folders that lets it.
///
/// # Errors
///
/// That of the first folder, if none does; an agent that serves there already ends the search.
pub fn claim_first(root: &PluginsRoot) -> Result<(Socket, UnixListener), ClaimError> {
    let first = match Socket::claim(&root.path) {
        Err(error @ (ClaimError::Io { .. } | ClaimError::Foreign { .. })) => error,
        decided => return decided,
    };
    for fallback in &root.fallbacks {
        match folder::create_own(fallback).and_then(|()| Socket::claim(fallback)) {
            Ok(claimed) => {
                tracing::warn!(cause = %first, used = %fallback.display(),
                    "Scope will not find the plugin: it looks in {} only", root.path.display());
                return Ok(claimed);
            }
            Err(error @ ClaimError::InUse(_)) => return Err(error),
            Err(error) => tracing::debug!(%error, "no place for the socket"),
        }
    }
    Err(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::plugin::socket_path;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
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
        assert!(text.starts_with("cannot create ") && text.contains("file/plugins"), "{text}");
    }
}
