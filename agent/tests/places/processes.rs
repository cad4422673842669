//! Processes that map libraries of the test's own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use agent::tls::find::{Finder, Found, Looked};
use agent::tls::place::Wanted;
use agent::tls::reason::Reason;

use crate::made::Made;

/// Maps a file as a loader does, may then change its root, and waits.
const PROGRAM: &str = "import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
mapped = mmap.mmap(file, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
if len(sys.argv) > 2:
    os.chroot(sys.argv[2])
print('ready', flush=True)
sys.stdin.read()
";

struct Mapping(Child);

impl Mapping {
    fn of(library: &Path, root: Option<&Path>) -> Self {
        let mut command = Command::new("python3");
        let command = command.args(["-c", PROGRAM]).arg(library).args(root);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn look(&self, finder: &mut Finder) -> Looked {
        finder.look(self.0.id())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn is_possible() -> bool {
    let possible = rustix::process::geteuid().is_root() && Command::new("python3").arg("--version").output().is_ok();
    if !possible {
        println!("SKIPPED: it needs python3, and root, to change a process's root");
    }
    possible
}

/// What was found, in few words.
fn words(looked: &Looked) -> Vec<String> {
    let found = looked.found.iter().map(|found| match found {
        Found::New(library) => format!("new {} places", library.places.as_slice().len()),
        Found::Known(_) => "known".to_owned(),
    });
    found.chain(looked.reasons.iter().map(|reason| reason.word().to_owned())).collect()
}

#[test]
fn each_file_is_taken_once() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("libssl.so.3"), folder.path().join("libssl-bad.so.3"));
    std::fs::write(&good, Made::openssl(&[0x53, 0x5b, 0xc3]).bytes()).unwrap();
    std::fs::write(&bad, Made::openssl(&[0xff, 0xe0]).bytes()).unwrap();
    let mut finder = Finder::new(Wanted::default());
    let (one, two) = (Mapping::of(&good, None), Mapping::of(&good, None));
    // An entry and an end, and three marks.
    assert_eq!(words(&one.look(&mut finder)), ["new 5 places"]);
    assert_eq!(words(&one.look(&mut finder)), ["known"]);
    assert_eq!(words(&two.look(&mut finder)), ["known"]);
    let refused = Mapping::of(&bad, None);
    for _ in 0..2 {
        let looked = refused.look(&mut finder);
        assert_eq!(words(&looked), ["not_understood"]);
        let expected = "its TLS library was not understood: SSL_read jumps at 0x100100 to where is not known";
        assert_eq!(looked.reasons[0].to_string(), expected);
    }
}

#[test]
fn a_process_with_another_root_is_found_through_its_parents() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (library, empty) = (folder.path().join("libssl.so.3"), folder.path().join("empty"));
    std::fs::write(&library, Made::openssl(&[0xc3]).bytes()).unwrap();
    std::fs::create_dir(&empty).unwrap();
    let mapping = Mapping::of(&library, Some(&empty));
    assert_eq!(words(&mapping.look(&mut Finder::new(Wanted::default()))), ["new 5 places"]);
}

#[test]
fn a_replaced_library_is_named() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libssl.so.3");
    std::fs::write(&library, Made::openssl(&[0xc3]).bytes()).unwrap();
    let mapping = Mapping::of(&library, None);
    std::fs::remove_file(&library).unwrap();
    std::fs::write(&library, Made::openssl(&[0xc3]).bytes()).unwrap();
    let looked = mapping.look(&mut Finder::new(Wanted::default()));
    assert_eq!(words(&looked), ["library_replaced"]);
}

#[test]
fn a_process_without_tls_has_no_library() {
    let sleeper = Command::new("sleep").arg("60").spawn();
    let mut sleeper = sleeper.unwrap();
    let looked = Finder::new(Wanted::default()).look(sleeper.id());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(looked.reasons, [Reason::NoLibrary]);
    assert!(looked.found.is_empty());
}
