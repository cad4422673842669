//! What the programs of cases rely on: a panic is caught, with its words.

#[expect(dead_code, reason = "only what catches is tried")]
mod harness;

use harness::caught;

/// What is done with 1 and 2, and what is said of it.
type Case = (fn(u64, u64) -> u64, &'static str);

#[test]
fn a_panic_is_an_error_with_its_words() {
    let cases: [Case; 4] = [
        (|_, _| panic!("a word"), "it panicked: a word"),
        (|small, _| panic!("{small} word"), "it panicked: 1 word"),
        (|small, large| small - large, "it panicked: attempt to subtract with overflow"),
        (|_, _| std::panic::resume_unwind(Box::new(1)), "it panicked: without a word"),
    ];
    for (case, said) in cases {
        assert_eq!(caught(|| case(1, 2)).expect_err("it panics").to_string(), said);
    }
    assert_eq!(caught(|| 1).expect("it does not panic"), 1);
}
