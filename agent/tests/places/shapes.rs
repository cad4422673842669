//! Shapes that compilers give to functions.

use agent::tls::place::{Place, Wanted};
use agent::tls::places::places;
use agent::tls::trouble::{NotUnderstood, Why};
use common::tls::action::Action;

use crate::made::{FIRST, LOADED, Made, STEP};

/// Where the entry of `SSL_read` and its ends are, as offsets from its first instruction.
fn read(made: &Made) -> Result<(Spot, Vec<Spot>), Why> {
    let bytes = made.bytes();
    let bytes = bytes.as_slice();
    let found = places(&bytes, Wanted::default()).map_err(|trouble| match trouble {
        NotUnderstood::Function { function: "SSL_read", why } => why,
        other => panic!("{other}"),
    })?;
    let of = |action| {
        let of = found.as_slice().iter().filter(move |place| place.action == action);
        of.map(|Place { offset, depth, .. }| (offset - FIRST, *depth))
    };
    Ok((of(Action::ReadEntry).next().unwrap(), of(Action::ReadEnd).collect()))
}

type Spot = (u64, u32);

/// A jump or a call of five bytes that stands at `from`.
fn far(opcode: u8, from: u64, to: u64) -> Vec<u8> {
    [&[opcode], &((to.wrapping_sub(from + 5)) as u32).to_le_bytes()[..]].concat()
}

const JMP: u8 = 0xe9;
const CALL: u8 = 0xe8;
const START: u64 = LOADED + FIRST;

#[test]
fn plain() {
    // push rbx; xor eax, eax; pop rbx; ret; mov eax, 1; ret
    let made = Made::openssl(&[0x53, 0x31, 0xc0, 0x5b, 0xc3, 0xb8, 1, 0, 0, 0, 0xc3]);
    assert_eq!(read(&made), Ok(((0, 0), vec![(4, 0), (10, 0)])));
}

/// `SSL_read` that checks its stack at the end: `check`, whose last byte is a distance, jumps to what fails.
fn checked(import: &str, before: &[u8], after: &[u8]) -> Made {
    let mut made = Made::new(62);
    let stub = made.stub(import);
    let at = made.next();
    let mut code = [before, &[0x75, after.len() as u8], after].concat();
    code.extend(far(CALL, at + code.len() as u64, stub));
    made.function("SSL_read", &code);
    for name in ["SSL_set_accept_state", "SSL_set_connect_state", "SSL_free"] {
        made.function(name, &[0xc3]);
    }
    made
}

/// As [`read`], where a stub stands first.
fn ends(made: &Made) -> Vec<Spot> {
    read(made).unwrap().1.into_iter().map(|(offset, depth)| (offset - STEP, depth)).collect()
}

const FAILS: &str = "__stack_chk_fail";
/// sub rsp, 24; test edx, edx
const GROW: [u8; 6] = [0x48, 0x83, 0xec, 0x18, 0x85, 0xd2];
/// add rsp, 24; xor edx, edx; ret
const SHRINK: [u8; 7] = [0x48, 0x83, 0xc4, 0x18, 0x31, 0xd2, 0xc3];

#[test]
fn the_check_of_the_stack_is_an_end() {
    assert_eq!(ends(&checked(FAILS, &GROW, &SHRINK)), [(6, 24)]);
    // With a frame pointer. push rbp; mov rbp, rsp; sub rsp, 16; jne; leave; ret
    assert_eq!(ends(&checked(FAILS, &[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10], &[0xc9, 0xc3])), [(8, 24)]);
}

#[test]
fn other_jumps_before_a_return_are_none() {
    // To where something else happens.
    assert_eq!(ends(&checked("ERR_new", &GROW, &SHRINK)), [(14, 0)]);
    // The result is written behind it: xor eax, eax.
    assert_eq!(ends(&checked(FAILS, &GROW, &[0x48, 0x83, 0xc4, 0x18, 0x31, 0xc0, 0xc3])), [(14, 0)]);
    // Somebody jumps in behind it. test edx, edx; js over the check; jne; xor edx, edx; ret
    assert_eq!(ends(&checked(FAILS, &[0x85, 0xd2, 0x78, 0x02], &[0x31, 0xd2, 0xc3])), [(8, 0)]);
    // The stack's depth is not known. push rbp; mov rbp, rsp; and rsp, -32; jne; leave; ret
    assert_eq!(ends(&checked(FAILS, &[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xe0], &[0xc9, 0xc3])), [(11, 0)]);
}

#[test]
fn a_tail_jump_is_followed() {
    // To where unwinders know of a function, and from there on.
    let mut made = Made::openssl(&far(JMP, START, START + 4 * STEP));
    made.unnamed(&[&[0x53, 0x5b][..], &far(JMP, START + 4 * STEP + 2, START + 5 * STEP)].concat());
    made.unnamed(&[0x31, 0xc0, 0xc3]);
    assert_eq!(read(&made), Ok(((0, 0), vec![(5 * STEP + 2, 0)])));
}

#[test]
fn a_cold_part_belongs_to_it() {
    // push rbx; js to the cold part; pop rbx; ret. There: add rsp, 8; ret
    let distance = (4 * STEP - 7) as u32;
    let mut made = Made::openssl(&[&[0x53, 0x0f, 0x88][..], &distance.to_le_bytes(), &[0x5b, 0xc3]].concat());
    made.unnamed(&[0x48, 0x83, 0xc4, 0x08, 0xc3]);
    assert_eq!(read(&made), Ok(((0, 0), vec![(8, 0), (4 * STEP + 4, 0)])));
}

#[test]
fn a_switch_is_no_way_out() {
    // push rbx; jmp rax; pop rbx; ret; pop rbx; ret
    let made = Made::openssl(&[0x53, 0xff, 0xe0, 0x5b, 0xc3, 0x5b, 0xc3]);
    assert_eq!(read(&made), Ok(((0, 0), vec![(4, 0), (6, 0)])));
    // Its cases are not followed, so the check of the stack is none: push rbx; jmp rax; test; jne; pop rbx; ret
    let made = checked(FAILS, &[0x53, 0xff, 0xe0, 0x85, 0xd2], &[0x5b, 0xc3]);
    assert_eq!(ends(&made), [(8, 0)]);
}

#[test]
fn an_indirect_tail_jump_is_refused() {
    // xor eax, eax; jmp rax. push rbx; pop rbx; jmp [rdi]
    assert_eq!(read(&Made::openssl(&[0x31, 0xc0, 0xff, 0xe0])), Err(Why::IndirectJump(START + 2)));
    assert_eq!(read(&Made::openssl(&[0x53, 0x5b, 0xff, 0x27])), Err(Why::IndirectJump(START + 2)));
}

#[test]
fn a_stub_leads_to_the_librarys_own_function() {
    let with = |import: &str| {
        let mut made = Made::new(62);
        let stub = made.stub(import);
        let code = far(JMP, made.next(), stub);
        made.function("SSL_read", &code);
        for name in ["SSL_set_accept_state", "SSL_set_connect_state", "SSL_free", "own"] {
            made.function(name, &[0x90, 0xc3]);
        }
        made
    };
    assert_eq!(ends(&with("own")), [(4 * STEP + 1, 0)]);
    assert_eq!(read(&with("read")), Err(Why::LeavesFile("read".to_owned())));
    assert_eq!(read(&with(FAILS)), Err(Why::NoEnd));
}

#[test]
fn what_cannot_be_followed_has_a_name() {
    let mut endless = Made::new(62);
    endless.endless("SSL_read", &[0xc3]);
    for name in ["SSL_set_accept_state", "SSL_set_connect_state", "SSL_free"] {
        endless.function(name, &[0xc3]);
    }
    assert_eq!(read(&endless), Err(Why::NoRange));
    // To where no function is known.
    assert_eq!(read(&Made::openssl(&far(JMP, START, START + 4 * STEP))), Err(Why::NoRange));
    assert_eq!(read(&Made::openssl(&[0x90, 0x06, 0xc3])), Err(Why::Undecodable(START + 1)));
    assert_eq!(read(&Made::openssl(&[0x0f, 0x0b])), Err(Why::NoEnd));
    // To itself.
    assert_eq!(read(&Made::openssl(&far(JMP, START, START))), Err(Why::NoEnd));
    let mut chain = Made::openssl(&far(JMP, START, START + 4 * STEP));
    for _ in 0..8 {
        chain.unnamed(&far(JMP, chain.next(), chain.next() + STEP));
    }
    chain.unnamed(&[0xc3]);
    assert_eq!(read(&chain), Err(Why::TooDeep));
}

#[test]
fn a_function_that_is_not_there_has_a_name() {
    let mut made = Made::new(62);
    made.function("SSL_read", &[0xc3]);
    let bytes = made.bytes();
    let missing = places(&bytes.as_slice(), Wanted::default()).unwrap_err();
    assert_eq!(missing.to_string(), "SSL_set_accept_state is missing");
}

/// Requests are counted all the same, and it is said why their responses are not.
#[test]
fn without_what_writes_there_are_places_that_read() {
    let writes = Wanted { writes: true, ..Wanted::default() };
    for (code, why) in [(None, Some("SSL_write is missing")), (Some(&[0x0f, 0x0b]), Some("SSL_write never returns"))] {
        let mut made = Made::openssl(&[0x53, 0x5b, 0xc3]);
        code.map(|code: &[u8; 2]| made.function("SSL_write", code));
        // One that is understood is of no use alone.
        made.function("SSL_write_ex", &[0x53, 0x5b, 0xc3]);
        let (found, reads) = (made.bytes(), Wanted::default());
        let (found, reads) = (places(&found.as_slice(), writes).unwrap(), places(&found.as_slice(), reads).unwrap());
        assert_eq!(found.unanswered().map(ToString::to_string).as_deref(), why);
        assert_eq!((found.as_slice(), found.has_writes()), (reads.as_slice(), false));
    }
    let mut made = Made::openssl(&[0x53, 0x5b, 0xc3]);
    made.function("SSL_write", &[0x53, 0x5b, 0xc3]);
    let found = places(&made.bytes().as_slice(), writes).unwrap();
    assert_eq!((found.unanswered(), found.has_writes()), (None, true));
}
