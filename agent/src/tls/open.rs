//! A process's files, opened so that what it has put in their place can neither lead elsewhere nor hold the agent up. EDGE.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, open, openat, openat2, readlinkat};
use rustix::io::Errno;

use super::library::FileId;
use super::maps::{Mapped, library};
use super::reason::Reason;

/// The longest list of what a process maps that is read, in bytes: 65 530 mappings, as many as the kernel allows at first.
const MOST_MAPS: u64 = 64 << 20;
/// TLS libraries of one process.
const MOST_LIBRARIES: usize = 8;
/// The largest file that is looked at.
const MOST_BYTES: u64 = 256 << 20;
/// How far up a process's parents are asked for a root in which its files can be found.
const MOST_PARENTS: usize = 4;
/// `linux/magic.h`.
const OVERLAYFS: u64 = 0x794c_7630;
const FUSE: u64 = 0x6573_5546;

/// A process, held by its folder in /proc: another one of the same number is not looked at.
pub(super) struct Process {
    folder: OwnedFd,
}

/// A regular file that may be read.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) id: FileId,
}

impl Process {
    pub(super) fn open(pid: u32) -> Result<Self, Reason> {
        let path = format!("/proc/{pid}");
        let folder = open(path.as_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { folder: folder.map_err(reason)? })
    }

    /// The TLS libraries from which it runs code.
    pub(super) fn libraries(&self) -> Result<Vec<Mapped>, Reason> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let maps = openat(&self.folder, "maps", flags, Mode::empty()).map_err(reason)?;
        let mut lines = BufReader::new(File::from(maps).take(MOST_MAPS));
        let (mut line, mut found) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(found),
                Ok(_) => found.extend(library(&line).filter(|mapped| !found.contains(mapped))),
                Err(_) => return Err(Reason::Gone),
            }
            found.truncate(MOST_LIBRARIES);
        }
    }

    /// The file that it runs, wherever that is by now.
    pub(super) fn executable(&self) -> Result<Opened, Reason> {
        let path = openat(&self.folder, "exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        opened(path.map_err(reason)?)
    }

    /// What the executable is called.
    pub(super) fn executable_path(&self) -> PathBuf {
        let path = readlinkat(&self.folder, "exe", Vec::new());
        path.map(|path| PathBuf::from(String::from_utf8_lossy(path.as_bytes()).into_owned())).unwrap_or_default()
    }

    /// The mapped file: in the process's root, or, as it may have changed that since, in a parent's.
    pub(super) fn library(&self, mapped: &Mapped) -> Result<Opened, Reason> {
        let mut roots = self.roots()?.into_iter();
        let own = roots.next().ok_or(Reason::Gone)?;
        let first = below(&own, mapped);
        if first.is_ok() {
            return first;
        }
        roots.find_map(|root| below(&root, mapped).ok()).map_or(first, Ok)
    }

    fn roots(&self) -> Result<Vec<OwnedFd>, Reason> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own = openat(&self.folder, "root", flags, Mode::empty()).map_err(reason)?;
        let mut roots = vec![own];
        let namespace = self.mounts();
        let mut parent = self.parent();
        for _ in 0..MOST_PARENTS {
            let Some(process) = parent.and_then(|pid| Self::open(pid).ok()) else { break };
            if process.mounts() != namespace {
                break;
            }
            roots.extend(openat(&process.folder, "root", flags, Mode::empty()));
            parent = process.parent();
        }
        Ok(roots)
    }

    /// Its mount namespace.
    fn mounts(&self) -> Option<Vec<u8>> {
        readlinkat(&self.folder, "ns/mnt", Vec::new()).ok().map(|name| name.into_bytes())
    }

    fn parent(&self) -> Option<u32> {
        let status = openat(&self.folder, "status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(status).take(1 << 16).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        text.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok().filter(|pid| *pid > 0)
    }
}

/// The mapped file below this root: a link in its path, too, leads no further up than there.
fn below(root: &OwnedFd, mapped: &Mapped) -> Result<Opened, Reason> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = openat2(root, mapped.path.as_slice(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    let opened = opened(path.map_err(|error| if error == Errno::NOENT { Reason::Replaced } else { reason(error) })?)?;
    // On overlayfs the kernel may name the file of the layer below.
    if opened.id.inode != mapped.inode && opened.id.device != 0 {
        return Err(Reason::Replaced);
    }
    Ok(opened)
}

/// What was found is looked at before it is opened: to open a device or a pipe may do something, or wait.
fn opened(path: OwnedFd) -> Result<Opened, Reason> {
    let unreadable = |error: Errno| reason(error);
    let (status, system) = (fstat(&path).map_err(unreadable)?, fstatfs(&path).map_err(unreadable)?);
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(Reason::Unreadable("it is no regular file".to_owned()));
    }
    // Its reads are answered by a process, perhaps never.
    if system.f_type as u64 == FUSE {
        return Err(Reason::Unreadable("it is on a FUSE file system".to_owned()));
    }
    let size = u64::try_from(status.st_size).unwrap_or(0);
    if size > MOST_BYTES {
        return Err(Reason::TooLarge);
    }
    let id = FileId {
        device: if system.f_type as u64 == OVERLAYFS { 0 } else { status.st_dev },
        inode: status.st_ino,
        changed: (status.st_ctime, status.st_ctime_nsec as u32),
        size,
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let link = format!("/proc/self/fd/{}", path.as_raw_fd());
    let file = openat(CWD, Path::new(&link), flags, Mode::empty()).map_err(unreadable)?;
    Ok(Opened { file: file.into(), id })
}

fn reason(error: Errno) -> Reason {
    match error {
        Errno::NOENT | Errno::SRCH => Reason::Gone,
        Errno::ACCESS | Errno::PERM => Reason::NoPrivilege,
        other => Reason::Unreadable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, create_dir, write};
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    /// A root with a library, and beside it one that is not its own.
    struct Roots(tempfile::TempDir);

    impl Roots {
        fn new() -> Self {
            let roots = Self(tempfile::tempdir().unwrap());
            for folder in ["root", "root/lib", "other"] {
                create_dir(roots.path(folder)).unwrap();
            }
            write(roots.path("root/lib/libssl.so.3"), "own").unwrap();
            write(roots.path("other/libssl.so.3"), "other").unwrap();
            roots
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        /// What is opened at a path in the root, if a file of this number is mapped.
        fn open(&self, path: &str, inode: u64) -> Result<String, Reason> {
            let root = open(self.path("root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            let mapped = Mapped { path: path.into(), inode, is_replaced: false };
            let mut text = String::new();
            below(&root, &mapped)?.file.read_to_string(&mut text).unwrap();
            Ok(text)
        }

        fn inode(&self, path: &str) -> u64 {
            fs::metadata(self.path(path)).unwrap().ino()
        }
    }

    #[test]
    fn a_link_leads_no_further_than_the_root() {
        let roots = Roots::new();
        let (own, other) = (roots.inode("root/lib/libssl.so.3"), roots.inode("other/libssl.so.3"));
        assert_eq!(roots.open("/lib/libssl.so.3", own).as_deref(), Ok("own"));
        symlink("/lib", roots.path("root/lib64")).unwrap();
        assert_eq!(roots.open("/lib64/libssl.so.3", own).as_deref(), Ok("own"), "within the root it is followed");
        symlink(roots.path("other"), roots.path("root/absolute")).unwrap();
        symlink("../other", roots.path("root/relative")).unwrap();
        symlink("/proc/self/root", roots.path("root/magic")).unwrap();
        for path in ["/absolute/libssl.so.3", "/relative/libssl.so.3", "/magic/libssl.so.3", "/../other/libssl.so.3"] {
            assert_eq!(roots.open(path, other), Err(Reason::Replaced), "{path}");
        }
    }

    #[test]
    fn another_file_in_its_place_is_not_taken_for_it() {
        let roots = Roots::new();
        let mapped = roots.inode("root/lib/libssl.so.3");
        fs::rename(roots.path("other/libssl.so.3"), roots.path("root/lib/libssl.so.3")).unwrap();
        assert_eq!(roots.open("/lib/libssl.so.3", mapped), Err(Reason::Replaced));
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let roots = Roots::new();
        let pipe = roots.path("root/lib/pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        // Nobody writes into it: to open it would wait.
        for path in ["/lib/pipe", "/lib"] {
            let refused = roots.open(path, roots.inode(&format!("root{path}")));
            assert_eq!(refused, Err(Reason::Unreadable("it is no regular file".to_owned())), "{path}");
        }
        let large = File::create(roots.path("root/large")).unwrap();
        large.set_len(MOST_BYTES + 1).unwrap();
        assert_eq!(roots.open("/large", roots.inode("root/large")), Err(Reason::TooLarge));
    }

    #[test]
    fn a_process_that_is_not_there_is_gone() {
        // No process has this number (`PID_MAX_LIMIT`).
        assert_eq!(Process::open(1 << 23).err(), Some(Reason::Gone));
        let own = Process::open(std::process::id()).unwrap();
        let path = own.executable_path();
        assert_eq!(own.executable().unwrap().id.inode, fs::metadata(path).unwrap().ino());
    }
}
