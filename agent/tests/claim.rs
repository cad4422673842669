//! Where the plugin socket goes: who may have been there before, and who may come near.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use agent::scope::plugin::{ClaimError, Socket, socket_path};
use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Somebody who is neither root nor, by default, anybody who runs tests.
const SOMEBODY: u32 = 65_533;

#[tokio::test]
async fn a_stale_socket_is_replaced_and_only_root_may_connect() {
    let folder = tempfile::tempdir().unwrap();
    let path = socket_path(folder.path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(std::os::unix::net::UnixStream::connect(&path).is_err());
    let (socket, _listener) = Socket::claim(folder.path()).unwrap();
    assert_eq!(socket.path(), path);
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert!(path.ends_with("http-requests/http-requests.sock"));
}

#[tokio::test]
async fn a_live_socket_is_refused_even_if_its_agent_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (first, listener) = Socket::claim(folder.path()).unwrap();
    // Nobody accepts: connections pile up until the backlog is full.
    let mut waiting = Vec::new();
    for _ in 0..5000 {
        match timeout(Duration::from_millis(50), UnixStream::connect(first.path())).await {
            Ok(Ok(stream)) => waiting.push(stream),
            _ => break,
        }
        if waiting.len() == 1 {
            check_refused(folder.path(), first.path());
        }
    }
    check_refused(folder.path(), first.path());
    drop(listener);
}

#[track_caller]
fn check_refused(root: &Path, path: &Path) {
    let error = Socket::claim(root).unwrap_err();
    assert!(matches!(error, ClaimError::InUse(_)), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(path.exists());
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = socket_path(folder.path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = Socket::claim(folder.path()).unwrap_err();
    assert!(matches!(error, ClaimError::NoSocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn the_socket_of_a_successor_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (first, listener) = Socket::claim(folder.path()).unwrap();
    // Keeps the inode, so that the successor's is another.
    let kept = folder.path().join("kept");
    fs::rename(first.path(), &kept).unwrap();
    let (second, _second_listener) = Socket::claim(folder.path()).unwrap();
    drop((first, listener));
    assert!(second.path().exists());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[track_caller]
fn check_error(root: &Path, expected: &str) {
    let error = Socket::claim(root).unwrap_err().to_string();
    assert!(error.contains(expected) && error.contains("--plugins-root"), "{error}");
}

#[tokio::test]
async fn the_folder_admits_nobody_else() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("http-requests");
    let (_socket, _listener) = Socket::claim(root.path()).unwrap();
    assert_eq!(mode(&folder), 0o700);
    drop((_socket, _listener));
    // As an older agent has left it.
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let (_socket, _listener) = Socket::claim(root.path()).unwrap();
    assert_eq!(mode(&folder), 0o700);
}

#[tokio::test]
async fn a_lock_that_somebody_holds_ends_in_a_message() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("http-requests");
    fs::create_dir(&folder).unwrap();
    let held = File::open(&folder).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    check_error(root.path(), "somebody has held a lock on");
    drop(held);
    Socket::claim(root.path()).unwrap();
}

#[tokio::test]
async fn a_root_that_others_may_write_to_is_refused_unless_it_is_sticky() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o777)).unwrap();
    check_error(root.path(), "others may write to");
    fs::set_permissions(root.path(), Permissions::from_mode(0o1777)).unwrap();
    Socket::claim(root.path()).unwrap();
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_refused() {
    if !getuid().is_root() {
        eprintln!("SKIPPED: giving a folder away needs root");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("http-requests");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(SOMEBODY), None).unwrap();
    check_error(root.path(), "http-requests belongs to user 65533");
    chown(&folder, Some(0), None).unwrap();
    chown(root.path(), Some(SOMEBODY), None).unwrap();
    check_error(root.path(), "belongs to user 65533");
}
