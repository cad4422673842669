//! Claims the place of the plugin socket and gives it back. EDGE.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::scope::report::ID;

/// Scope's probe runs as root, and so does whoever asks through `kubectl exec`.
const SOCKET_MODE: u32 = 0o600;

/// Where Scope looks for the socket: it takes the plugin's id from the file's name.
#[must_use]
pub fn socket_path(root: &Path) -> PathBuf {
    root.join(ID).join(format!("{ID}.sock"))
}

/// Whether an agent serves the socket below this folder. A full backlog is somebody's, too.
#[must_use]
pub fn is_served(root: &Path) -> bool {
    matches!(connect(&socket_path(root)), Ok(()) | Err(Errno::AGAIN))
}

/// The socket file, as long as it is ours.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody answers there.
    #[error("another agent already serves {}: stop it, or give this one another place with --plugins-root", .0.display())]
    InUse(PathBuf),
    /// Something else has the name.
    #[error("{} is no socket: remove it, or use another place with --plugins-root", .0.display())]
    NoSocket(PathBuf),
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Socket {
    /// Creates the folders, replaces a socket that nobody serves any more, and listens.
    ///
    /// # Errors
    ///
    /// See [`ClaimError`].
    pub fn claim(root: &Path) -> Result<(Self, tokio::net::UnixListener), ClaimError> {
        let path = socket_path(root);
        let folder = root.join(ID);
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        // Held until the socket is bound: of two agents that start at once, one finds the other's.
        let lock = File::open(&folder).map_err(failed("open", &folder))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed("lock", &folder)(error.into()))?;
        remove_stale(&path)?;
        let listener = UnixListener::bind(&path).map_err(failed("bind", &path))?;
        fs::set_permissions(&path, Permissions::from_mode(SOCKET_MODE)).map_err(failed("set the mode of", &path))?;
        listener.set_nonblocking(true).map_err(failed("use", &path))?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed("use", &path))?;
        let identity = identity(&path).map_err(failed("look at", &path))?;
        Ok((Self { path, identity }, listener))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    /// Unlinks the file, unless another agent has put its own there.
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket stays behind");
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), ClaimError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ClaimError::NoSocket(path.into())),
        Ok(_) => {}
    }
    match connect(path) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed("remove the stale", path)),
        Err(Errno::NOENT) => Ok(()),
        // A full backlog is somebody's, too.
        Ok(()) | Err(Errno::AGAIN) => Err(ClaimError::InUse(path.into())),
        Err(error) => Err(failed("tell whether anybody serves", path)(error.into())),
    }
}

/// Without waiting: an agent that is stopped accepts nobody.
fn connect(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClaimError {
    let path = path.to_owned();
    move |source| ClaimError::Io { action, path, source }
}
