//! The folder of the plugin socket: this user's alone, below one in which nobody else can replace it. EDGE.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;

use super::socket::{ClaimError, failed};

/// Who can open a folder can lock it, so nobody else may.
const MODE: u32 = 0o700;
/// A folder in which everybody may create files, but rename and remove only their own.
const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const ROOT: u32 = 0;

/// An agent that starts holds the lock while it binds its socket, for less than a millisecond.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Creates the folder where it is missing. Below it the agent makes its own: nobody else may be able to replace that.
pub(super) fn create_trusted(root: &Path) -> Result<(), ClaimError> {
    fs::create_dir_all(root).map_err(failed("create", root))?;
    let metadata = fs::metadata(root).map_err(failed("look at", root))?;
    if ![ROOT, getuid().as_raw()].contains(&metadata.uid()) {
        return Err(ClaimError::Foreign { path: root.into(), owner: metadata.uid() });
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 && metadata.mode() & STICKY == 0 {
        return Err(ClaimError::Open(root.into()));
    }
    Ok(())
}

/// Creates the folder for this user alone. One that is there already must be this user's, and nobody else keeps a way in.
pub(super) fn create_own(folder: &Path) -> Result<(), ClaimError> {
    match DirBuilder::new().mode(MODE).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create", folder)(error)),
        _ => {}
    }
    let metadata = fs::symlink_metadata(folder).map_err(failed("look at", folder))?;
    if !is_own(&metadata) {
        return Err(ClaimError::Foreign { path: folder.into(), owner: metadata.uid() });
    }
    if metadata.mode() & 0o777 != MODE {
        fs::set_permissions(folder, Permissions::from_mode(MODE)).map_err(failed("set the mode of", folder))?;
    }
    Ok(())
}

fn is_own(metadata: &Metadata) -> bool {
    metadata.is_dir() && metadata.uid() == getuid().as_raw()
}

/// Locks the folder until the file is dropped: of two agents that start at once, one finds the other's socket. It waits
/// for [`LOCK_PATIENCE`], so not on the thread that serves.
pub(super) fn lock(folder: &Path) -> Result<File, ClaimError> {
    let file = File::open(folder).map_err(failed("open", folder))?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(ClaimError::Locked(folder.into())),
            Err(error) => return Err(failed("lock", folder)(error.into())),
        }
    }
}
