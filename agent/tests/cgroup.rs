//! The cgroup parser against every recorded line, and against lines nobody recorded.
#![expect(clippy::unwrap_used, reason = "tests")]

use agent::pods::cgroup::{Candidate, ContainerId, MAX_CANDIDATES, MAX_TEXT_BYTES, candidates};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    line: String,
    pod_uid: String,
    container_id: String,
    source: String,
}

fn recorded() -> Vec<Recorded> {
    serde_json::from_str(include_str!("data/cgroups.json")).unwrap()
}

/// `pod/container` of each candidate, `-` for what is not there.
fn shown(candidates: &[Candidate]) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    candidates
        .iter()
        .map(|c| {
            let pod = or_dash(c.pod.map(|pod| pod.to_string()));
            format!("{pod}/{}", or_dash(c.container.map(|id| id.to_string())))
        })
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(shown(&candidates(text)), expected, "{text}");
}

#[test]
fn every_recorded_line_gives_its_pair_first() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 49);
    for case in recorded {
        let found = candidates(&case.line);
        let (pod, container) = found.first().map_or((None, None), |c| (c.pod, c.container));
        let shown = (
            pod.map(|pod| pod.to_string()).unwrap_or_default(),
            container.map(|id| id.to_string()).unwrap_or_default(),
        );
        assert_eq!(shown, (case.pod_uid, case.container_id), "{} {}", case.line, case.source);
    }
}

const UID: &str = "44c76ce5-f953-4bd3-bc89-12621681af49";
const OTHER: &str = "c55ba69a-e39f-44af-925d-c4794fd57878";
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn nested_pods_come_from_the_outermost_inwards() {
    check(
        &format!("0::/kubepods/pod{UID}/{A}/kubepods/burstable/pod{OTHER}/{B}"),
        &[&format!("{UID}/{A}"), &format!("{OTHER}/{B}")],
    );
    // Docker in a pod, and a node that is a container: pods precede containers of nobody's pod.
    check(&format!("0::/kubepods/pod{UID}/{A}/docker/{B}"), &[&format!("{UID}/{A}"), &format!("-/{B}")]);
    check(&format!("0::/docker/{A}/kubepods/pod{UID}/{B}"), &[&format!("{UID}/{B}"), &format!("-/{A}")]);
}

#[test]
fn among_the_kubelets_cgroups_any_name_is_a_static_pods() {
    for path in [
        format!("/kubepods/podmy-etcd-01/{A}"),
        format!("/kubepods/burstable/podmy-etcd-01/{A}"),
        format!("/kubelet/kubepods/besteffort/podmy-etcd-01/{A}"),
        format!("/kubepods.slice/kubepods-podmy_etcd_01.slice/cri-containerd-{A}.scope"),
        format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podmy_etcd_01.slice/crio-{A}.scope"),
    ] {
        check(&format!("0::{path}"), &[&format!("my_etcd_01/{A}")]);
    }
    // Elsewhere it takes what only a kubelet would write.
    check("0::/podmy-etcd-01", &[]);
    check("0::/burstable/podmy-etcd-01", &[]);
    check(&format!("0::/kubepods/pod{}", "x".repeat(65)), &[]);
    check("0::/kubepods/pod", &[]);
}

#[test]
fn a_line_with_a_pod_precedes_one_without() {
    check(&format!("1:cpu:/docker/{A}\n0::/kubepods/pod{UID}/{B}"), &[&format!("{UID}/{B}"), &format!("-/{A}")]);
}

#[test]
fn a_removed_directory_still_counts() {
    check(&format!("0::/kubepods/pod{UID}/{A} (deleted)\n"), &[&format!("{UID}/{A}")]);
}

#[test]
fn helpers_of_the_runtime_are_not_the_container() {
    check(&format!("0::/kubepods.slice/kubepods-pod{UID}.slice/crio-conmon-{A}.scope"), &[&format!("{UID}/-")]);
    check(&format!("0::/machine.slice/libpod-conmon-{A}.scope"), &[]);
    check(&format!("0::/machine.slice/machine-libpod_pod_{A}.slice"), &[]);
}

#[test]
fn nothing_is_guessed() {
    for text in [
        "",
        "0::",
        "0::/",
        "nonsense",
        "0::/kubepods/pod um",
        "0::/podium",
        &format!("0::/app-pod{UID}.slice"),               // no kubelet made this
        &format!("0::/pod{}", &UID[..35]),                // a digit is missing
        &format!("0::/pod{}", UID.replacen('-', "_", 1)), // mixed separators
        &format!("0::/pod{}", UID.to_uppercase()),
        &format!("0::/{}", &A[..63]),
        &format!("0::/{A}a"),
        &format!("0::/x-{A}.scope"),
    ] {
        check(text, &[]);
    }
}

#[test]
fn a_line_that_the_bound_cuts_is_left_out() {
    let head = format!("1:cpu:/kubepods/pod{UID}/{A}\n0::/kubepods/pod{OTHER}/");
    let text = format!("{head}{}", "x".repeat(MAX_TEXT_BYTES));
    check(&text, &[&format!("{UID}/{A}")]);
    check(&format!("0::/{}", "é".repeat(MAX_TEXT_BYTES)), &[]);
}

#[test]
fn the_ids_of_a_status_carry_their_runtime() {
    for runtime in ["containerd", "cri-o", "docker"] {
        let id = ContainerId::parse_status(&format!("{runtime}://{A}"));
        assert_eq!(id.unwrap().to_string(), A);
    }
    for bad in ["", A, "containerd://", "containerd://abc"] {
        assert_eq!(ContainerId::parse_status(bad), None, "{bad}");
    }
}

/// Pieces of real paths in any order: near misses, which random characters never reach.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/".to_string()),
        Just(":".to_string()),
        Just("\n".to_string()),
        Just("0::/".to_string()),
        Just("kubepods".to_string()),
        Just("-burstable".to_string()),
        Just("-pod".to_string()),
        Just("pod".to_string()),
        Just(".slice".to_string()),
        Just(".scope".to_string()),
        Just("cri-containerd-".to_string()),
        Just("libpod-payload-".to_string()),
        Just(UID.to_string()),
        Just(OTHER.replace('-', "_")),
        Just(A.to_string()),
        "[0-9a-f]{32}",
        "[0-9a-f]{63,65}",
        ".{0,6}",
    ]
}

/// What is found stands in the text, digit by digit, and at most the bound is found.
fn holds(text: &str) {
    let found = candidates(text);
    assert!(found.len() <= MAX_CANDIDATES);
    let plain = text.replace('-', "_");
    for candidate in found {
        assert!(candidate.pod.is_some() || candidate.container.is_some());
        if let Some(pod) = candidate.pod {
            let pod = pod.to_string().replace('-', "_");
            assert!(plain.contains(&format!("pod{pod}")), "{pod} is not in {text}");
        }
        if let Some(id) = candidate.container {
            assert!(text.contains(&id.to_string()), "{id} is not in {text}");
        }
    }
}

proptest! {
    #[test]
    fn invents_nothing_from_any_text(text in "(.|\n){0,400}") {
        holds(&text);
    }

    #[test]
    fn invents_nothing_from_pieces_of_paths(pieces in prop::collection::vec(piece(), 0..40)) {
        holds(&pieces.concat());
    }

    #[test]
    fn invents_nothing_from_a_damaged_line(case in 0usize..49, at in any::<prop::sample::Index>(), to in "[ -~]") {
        let line = &recorded()[case].line;
        let at = at.index(line.len());
        let mut damaged = line.clone();
        damaged.replace_range(at..=at, &to);
        holds(&damaged);
    }
}
