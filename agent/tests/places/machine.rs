//! The libraries and programs of this machine.

use std::path::Path;

use agent::tls::place::{Kind, Place, Wanted};
use agent::tls::places::places;
use agent::tls::trouble::NotUnderstood;
use common::tls::action::Action;

/// All that can be asked for.
pub const ALL: Wanted = Wanted { writes: true, go: true };

/// Its places, or nothing, said aloud, where the file is not there.
fn of(path: &str, wanted: Wanted) -> Option<Result<(Kind, Vec<Place>), NotUnderstood>> {
    let Ok(bytes) = std::fs::read(path) else {
        println!("SKIPPED: there is no {path} here");
        return None;
    };
    let bytes = bytes.as_slice();
    Some(places(&bytes, wanted).map(|places| (places.kind(), places.as_slice().to_vec())))
}

/// What is said at the places, each once, in order.
fn actions(places: &[Place]) -> Vec<Action> {
    let mut actions: Vec<_> = places.iter().map(|place| place.action).collect();
    actions.sort();
    actions.dedup();
    actions
}

const LIBRARIES: &str =
    if cfg!(target_arch = "aarch64") { "/usr/lib/aarch64-linux-gnu" } else { "/usr/lib/x86_64-linux-gnu" };

#[test]
fn openssl_has_all_of_its_functions() {
    use Action::{
        BeginClient, BeginServer, EarlyEnd, EarlyEntry, FileEnd, FileEntry, Free, ReadEnd, ReadEntry, ReadExEnd,
        ReadExEntry, WriteEnd, WriteEntry, WriteExEnd, WriteExEntry,
    };
    let path = format!("{LIBRARIES}/libssl.so.3");
    let reads =
        [ReadEntry, ReadEnd, ReadExEntry, ReadExEnd, BeginServer, BeginClient, Free, EarlyEntry, EarlyEnd].to_vec();
    let writes = [WriteEntry, WriteEnd, WriteExEntry, WriteExEnd];
    let all = [&reads[..4], &writes, &reads[4..], &[FileEntry, FileEnd]].concat();
    for (wanted, expected) in [(Wanted::default(), reads), (ALL, all)] {
        let Some(found) = of(&path, wanted) else { return };
        let (kind, places) = found.unwrap();
        assert_eq!((kind, actions(&places)), (Kind::OpenSsl, expected));
    }
}

#[test]
fn gnutls_is_followed_to_where_it_hands_over() {
    use Action::{
        AgainEnd, AgainEntry, BeginUnlessKnown, FileEnd, FileEntry, Free, InitEnd, InitEntry, ReadEnd, ReadEntry,
        WriteEnd, WriteEntry, WriteUnseen,
    };
    let Some(found) = of(&format!("{LIBRARIES}/libgnutls.so.30"), ALL) else { return };
    let (kind, places) = found.unwrap();
    let others = [BeginUnlessKnown, Free, FileEntry, FileEnd];
    let expected = [
        &[ReadEntry, ReadEnd, WriteEntry, WriteEnd],
        &others[..],
        &[WriteUnseen, AgainEntry, AgainEnd, InitEntry, InitEnd],
    ];
    assert_eq!((kind, actions(&places)), (Kind::GnuTls, expected.concat()));
    let ends = places.iter().filter(|place| place.action == ReadEnd).count();
    assert!(ends > 1, "those of the function to which it hands over are missing: {places:#x?}");
}

#[test]
fn node_has_openssl_within() {
    let node = ["/usr/bin/node", "/usr/local/bin/node"].into_iter().find(|path| Path::new(path).exists());
    let Some(found) = of(node.unwrap_or("/usr/bin/node"), Wanted::default()) else { return };
    match found {
        Ok((kind, places)) => {
            assert_eq!(kind, Kind::OpenSsl);
            assert!(actions(&places).starts_with(&[Action::ReadEntry, Action::ReadEnd]), "{places:#x?}");
        }
        // A distribution's own Node is linked with its libssl.
        Err(trouble) => assert_eq!(trouble, NotUnderstood::NoTls),
    }
}

#[test]
fn a_program_without_tls_is_known_as_one() {
    let Some(found) = of("/usr/bin/ls", ALL) else { return };
    assert_eq!(found, Err(NotUnderstood::NoTls));
}

#[test]
fn order_is_ends_entries_begins() {
    let Some(found) = of(&format!("{LIBRARIES}/libssl.so.3"), ALL) else { return };
    let (_, places) = found.unwrap();
    let rank = |place: &Place| match place.action {
        action if action.is_end() => 0,
        action if action.is_entry() => 1,
        _ => 2,
    };
    assert!(places.is_sorted_by_key(rank), "{places:#x?}");
}
