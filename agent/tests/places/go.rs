//! Programs in Go: of the test's own making, and built by this machine's Go.

use std::path::Path;
use std::process::Command;

use agent::tls::place::{Kind, Place, Wanted};
use agent::tls::places::places;
use agent::tls::trouble::NotUnderstood;
use common::tls::action::Action;

use crate::machine::ALL;
use crate::made::{ARM64, FIRST, LOADED, Made, STEP};

const TABLE: u64 = LOADED + 0xa_0000;
const NAMES: [&str; 6] = [
    "_rt0_amd64_linux",
    "crypto/tls.(*Conn).Read",
    "crypto/tls.(*Conn).Close",
    "crypto/tls.(*Conn).serverHandshake",
    "crypto/tls.(*Conn).clientHandshake",
    "crypto/tls.(*Conn).Write",
];

/// The table of functions that Go's runtime reads: one at each step of the text.
fn table(magic: u32, text: u64) -> Vec<u8> {
    let (names_at, count) = (72_u64, NAMES.len());
    let names: Vec<u8> = NAMES.iter().flat_map(|name| [name.as_bytes(), &[0]].concat()).collect();
    let functions_at = (names_at + names.len() as u64).next_multiple_of(8);
    let mut bytes = [&magic.to_le_bytes()[..], &[0, 0, 1, 8]].concat();
    bytes.extend([count as u64, 0, text, names_at, 0, 0, 0, functions_at].map(u64::to_le_bytes).concat());
    bytes.extend(&names);
    bytes.resize(functions_at as usize, 0);
    let described = count as u32 * 8 + 4;
    for index in 0..count as u32 {
        bytes.extend([index * STEP as u32, described + index * 8].map(u32::to_le_bytes).concat());
    }
    bytes.extend((count as u32 * STEP as u32).to_le_bytes());
    let mut name = 0_u32;
    for (index, text) in NAMES.iter().enumerate() {
        bytes.extend([index as u32 * STEP as u32, name].map(u32::to_le_bytes).concat());
        name += text.len() as u32 + 1;
    }
    bytes
}

/// lea r12, [rsp-8]; cmp r12, [r14+16]; jbe to where the stack grows; ret; call; jmp to the first. On arm64: cmp; ret
fn program(machine: u16, magic: u32, text: u64) -> Made {
    let code: &[u8] = if machine == ARM64 {
        &[0xff, 0x43, 0x00, 0xeb, 0xc0, 0x03, 0x5f, 0xd6]
    } else {
        &[0x4c, 0x8d, 0x64, 0x24, 0xf8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x01, 0xc3, 0xe8, 0, 0, 0, 0, 0xeb, 0xed]
    };
    let mut made = Made::new(machine);
    for _ in NAMES {
        made.place(code);
    }
    made.entry = LOADED + FIRST;
    made.section(".gopclntab", TABLE, table(magic, text));
    made
}

fn of(made: &Made) -> Result<Vec<Place>, NotUnderstood> {
    let bytes = made.bytes();
    places(&bytes.as_slice(), ALL).map(|places| {
        assert_eq!(places.kind(), Kind::Go);
        places.as_slice().to_vec()
    })
}

/// With the entry and the return that many bytes behind each function's first.
fn expected(entry: u64, end: u64) -> Vec<Place> {
    let place = |function: u64, into: u64, action| Place { offset: FIRST + function * STEP + into, action, depth: 0 };
    vec![
        place(1, end, Action::GoReadEnd),
        place(5, end, Action::GoWriteEnd),
        place(1, entry, Action::GoReadEntry),
        place(5, entry, Action::GoWriteEntry),
        place(2, entry, Action::GoClose),
        place(3, entry, Action::GoServer),
        place(4, entry, Action::GoClient),
    ]
}

#[test]
fn functions_are_found_in_the_runtimes_table() {
    for magic in [0xffff_fff0, 0xffff_fff1] {
        assert_eq!(of(&program(62, magic, LOADED + FIRST)), Ok(expected(9, 11)));
        // Where it is linked to be loaded anywhere, the loader writes the text's address, or it follows from the program's entry.
        let mut relocated = program(62, magic, 0);
        relocated.entry = LOADED;
        relocated.relocation(TABLE + 24);
        assert_eq!(of(&relocated), Ok(expected(9, 11)));
        assert_eq!(of(&program(62, magic, 0)), Ok(expected(9, 11)));
    }
    assert_eq!(of(&program(ARM64, 0xffff_fff1, LOADED + FIRST)), Ok(expected(0, 4)));
}

#[test]
fn an_older_table_is_refused_by_name() {
    let trouble = of(&program(62, 0xffff_fffa, LOADED + FIRST)).unwrap_err();
    assert_eq!(trouble.to_string(), "its .gopclntab cannot be read");
}

#[test]
fn a_go_program_is_left_alone_unless_asked_for() {
    let bytes = program(62, 0xffff_fff1, LOADED + FIRST).bytes();
    assert_eq!(places(&bytes.as_slice(), Wanted::default()), Err(NotUnderstood::NotAskedFor));
}

const SERVER: &str = r#"package main

import "net/http"

func main() {
	http.ListenAndServeTLS(":0", "certificate", "key", nil)
	http.Get("https://localhost")
}
"#;

#[test]
fn a_stripped_program_has_the_same_places() {
    if Command::new("go").arg("version").output().is_err() {
        println!("SKIPPED: there is no go here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("server.go");
    std::fs::write(&source, SERVER).unwrap();
    // Kept for the next run: building the standard library takes half a minute.
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let build = |name: &str, arguments: &[&str]| {
        let path = folder.path().join(name);
        let mut build = Command::new("go");
        let build = build.arg("build").args(arguments).arg("-o").arg(&path).arg(&source).current_dir(folder.path());
        let build = build.env("GOCACHE", &kept).env("GOPATH", kept.join("path")).env("GOTOOLCHAIN", "local");
        let output = build.env("CGO_ENABLED", "0").env("GO111MODULE", "off").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = std::fs::read(path).unwrap();
        places(&bytes.as_slice(), ALL).unwrap().as_slice().to_vec()
    };
    let actions = |places: &[Place]| places.iter().map(|place| place.action).collect::<Vec<_>>();
    let plain = build("plain", &[]);
    assert!(actions(&plain).iter().filter(|action| **action == Action::GoReadEnd).count() > 1, "{plain:#x?}");
    assert_eq!(build("stripped", &["-ldflags=-s -w"]), plain);
    let anywhere = build("anywhere", &["-buildmode=pie"]);
    assert_eq!(actions(&anywhere), actions(&plain));
    assert_eq!(build("both", &["-buildmode=pie", "-ldflags=-s -w"]), anywhere);
}
