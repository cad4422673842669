//! Claims the place of the plugin socket and gives it back. EDGE.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{UnixCredentials, getsockopt};
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use super::folder::{self, LOCK_PATIENCE};
use crate::scope::report::ID;

/// Scope's probe runs as root, and so does whoever asks through `kubectl exec`.
const SOCKET_MODE: u32 = 0o600;
/// Clients that wait to be accepted; a further one is refused.
const BACKLOG: i32 = 128;

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
    /// Whose it is could put another socket there.
    #[error("{} belongs to user {owner}: remove it, or use another place with --plugins-root", path.display())]
    Foreign {
        /// What.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Everybody could put another socket there.
    #[error("others may write to {path}: take that from them (chmod go-w {path}), or use another place with --plugins-root", path = .0.display())]
    Open(PathBuf),
    /// Somebody has the folder locked.
    #[error("somebody has held a lock on {path} for {} s, as an agent does while it starts: end who does (fuser -v {path}), or use another place with --plugins-root", LOCK_PATIENCE.as_secs(), path = .0.display())]
    Locked(PathBuf),
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
    /// Creates the folders, replaces a socket that nobody serves any more, and listens. It may wait for a second.
    ///
    /// # Errors
    ///
    /// See [`ClaimError`].
    pub fn claim(root: &Path) -> Result<(Self, tokio::net::UnixListener), ClaimError> {
        let path = socket_path(root);
        let own = root.join(ID);
        folder::create_trusted(root)?;
        folder::create_own(&own)?;
        let _until_bound = folder::lock(&own)?;
        remove_stale(&path)?;
        Self::bound(path)
    }

    /// Puts its own socket in the place of one that somebody serves who does not give it away.
    ///
    /// # Errors
    ///
    /// See [`ClaimError`].
    pub fn replace(root: &Path) -> Result<(Self, tokio::net::UnixListener), ClaimError> {
        let path = socket_path(root);
        let _until_bound = folder::lock(&root.join(ID))?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replace", &path)(error)),
            _ => {}
        }
        Self::bound(path)
    }

    /// The socket of another agent, which has given its listener.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub fn inherit(path: &Path, listener: OwnedFd) -> Result<(Self, tokio::net::UnixListener), ClaimError> {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true).map_err(failed("use", path))?;
        Self::of(path.to_owned(), listener)
    }

    /// Who connects to a socket is told the process that listened last (`unix_listen`): from now on this one.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn announce(listener: &tokio::net::UnixListener) -> io::Result<()> {
        rustix::net::listen(listener, BACKLOG).map_err(io::Error::from)
    }

    fn bound(path: PathBuf) -> Result<(Self, tokio::net::UnixListener), ClaimError> {
        let listener = bind(&path).map_err(|error| failed("bind", &path)(error.into()))?;
        Self::of(path, listener)
    }

    fn of(path: PathBuf, listener: UnixListener) -> Result<(Self, tokio::net::UnixListener), ClaimError> {
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed("use", &path))?;
        let identity = identity(&path).map_err(failed("look at", &path))?;
        Ok((Self { path, identity }, listener))
    }

    /// It is another agent's from now on, and stays where it is.
    pub fn give(mut self) {
        self.identity = (0, 0);
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
    connected(path).map(drop)
}

/// A connection to whoever serves there; it does not block.
///
/// # Errors
///
/// What the system said.
pub fn connected(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Who serves at the other end of a connection: its process and its user.
///
/// # Errors
///
/// What the system said.
pub fn server_of(stream: &impl AsFd) -> io::Result<UnixCredentials> {
    // Not with rustix: an agent of another PID namespace has PID 0 here, which it takes for an error (1.1.4).
    Ok(getsockopt(stream, PeerCredentials)?)
}

/// Listens on a socket that has its mode from the moment it has a name.
fn bind(path: &Path) -> Result<UnixListener, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClaimError {
    let path = path.to_owned();
    move |source| ClaimError::Io { action, path, source }
}
