//! The index of pods, fed with literal pods.
#![expect(clippy::unwrap_used, reason = "tests")]

use agent::pods::cgroup::{ConfigHash, ContainerId, PodUid, candidates};
use agent::pods::index::{Container, ContainerKind, DELETED_KEPT, MAX_CONTAINERS, MAX_DELETED, MAX_PODS, Pod, Pods};
use std::time::Duration;

const START: Duration = Duration::from_secs(1_000);
const HASH: &str = "7cfa1bbc65606f578b629ebf9191950a";

fn uid(n: usize) -> PodUid {
    PodUid::parse(&format!("{n:08x}-0000-0000-0000-000000000000")).unwrap()
}

fn id(n: usize) -> ContainerId {
    ContainerId::parse(&format!("{n:064x}")).unwrap()
}

fn container(name: &str, n: usize, kind: ContainerKind) -> Container {
    let (name, id) = (name.into(), id(n));
    Container { name, id, kind }
}

fn pod(n: usize, containers: Vec<Container>) -> Pod {
    Pod {
        uid: uid(n),
        config_hash: None,
        scope_uid: uid(n).to_string().into(),
        namespace: "shop".into(),
        name: format!("web-{n}").into(),
        containers,
    }
}

fn with_app(n: usize) -> Pod {
    pod(n, vec![container("app", 100 + n, ContainerKind::Regular)])
}

/// `namespace/pod/container` of a cgroup path, `-` for what is unknown.
fn name(pods: &Pods, path: &str) -> String {
    match pods.resolve(&candidates(&format!("0::{path}"))) {
        None => "-".into(),
        Some(place) => {
            let container = place.container.map_or("-", |container| &container.name);
            format!("{}/{}/{container}", place.pod.namespace, place.pod.name)
        }
    }
}

#[track_caller]
fn check(pods: &Pods, path: &str, expected: &str) {
    assert_eq!(name(pods, path), expected, "{path}");
}

#[test]
fn every_kind_of_container_has_its_name() {
    let mut pods = Pods::default();
    pods.apply(pod(
        1,
        vec![
            container("app", 1, ContainerKind::Regular),
            container("mesh", 2, ContainerKind::Init),
            container("debugger", 3, ContainerKind::Ephemeral),
        ],
    ));
    let path = |n| format!("/kubepods/pod{}/{}", uid(1), id(n));
    check(&pods, &path(1), "shop/web-1/app");
    check(&pods, &path(2), "shop/web-1/mesh");
    check(&pods, &path(3), "shop/web-1/debugger");
    // A pause container stands in no status: its pod is known all the same.
    check(&pods, &path(4), "shop/web-1/-");
    check(&pods, &format!("/kubepods/pod{}", uid(1)), "shop/web-1/-");
}

#[test]
fn a_container_id_alone_finds_its_pod() {
    let mut pods = Pods::default();
    pods.apply(with_app(1));
    check(&pods, &format!("/../crio-{}.scope", id(101)), "shop/web-1/app");
    check(&pods, &format!("/docker/{}", id(102)), "-");
}

#[test]
fn the_pod_is_known_before_its_container_and_the_miss_is_not_kept() {
    let mut pods = Pods::default();
    let path = format!("/kubepods/pod{}/{}", uid(1), id(101));
    check(&pods, &path, "-");
    pods.apply(pod(1, vec![]));
    check(&pods, &path, "shop/web-1/-");
    pods.apply(with_app(1));
    check(&pods, &path, "shop/web-1/app");
}

#[test]
fn a_static_pod_goes_by_the_hash_of_its_file() {
    let mut mirror = with_app(1);
    mirror.config_hash = ConfigHash::parse(HASH);
    mirror.scope_uid = HASH.into();
    let mut pods = Pods::default();
    pods.apply(mirror.clone());
    let path =
        format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{HASH}.slice/crio-{}.scope", id(101));
    check(&pods, &path, "shop/web-1/app");
    // The mirror pod is made anew under another UID; forgetting the old one must not take the hash along.
    pods.delete(mirror.uid, START);
    mirror.uid = uid(2);
    mirror.name = "web-2".into();
    pods.apply(mirror);
    pods.sweep(START + DELETED_KEPT);
    check(&pods, &path, "shop/web-2/app");
}

#[test]
fn on_a_node_that_is_a_container_the_outermost_known_pod_wins() {
    let mut pods = Pods::new(true);
    let outer = format!("/kubepods/pod{}/{}", uid(1), id(101));
    let inner = format!("{outer}/kubepods/pod{}/{}", uid(7), id(7));
    check(&pods, &inner, "-");
    pods.apply(pod(7, vec![]));
    check(&pods, &inner, "shop/web-7/-");
    pods.apply(with_app(1));
    check(&pods, &inner, "shop/web-1/app");
}

#[test]
fn a_cgroup_that_a_container_named_like_another_pod_is_not_believed() {
    let mut pods = Pods::default();
    pods.apply(with_app(7));
    // Whether its own pod is known yet or not.
    for expected in ["-", "shop/web-1/app"] {
        let own = format!("/kubepods/pod{}/{}", uid(1), id(101));
        check(&pods, &format!("{own}/kubepods/pod{}/{}", uid(7), id(107)), expected);
        check(&pods, &format!("{own}/docker/{}", id(107)), expected);
        check(&pods, &format!("{own}/{}", id(107)), expected);
        pods.apply(with_app(1));
    }
    // Of a container that is in no pod likewise.
    check(&pods, &format!("/docker/{}/docker/{}", id(5), id(107)), "-");
}

/// A mirror pod with this hash.
fn mirror(n: usize, hash: &str) -> Pod {
    Pod { config_hash: ConfigHash::parse(hash), scope_uid: hash.into(), ..with_app(n) }
}

#[test]
fn a_static_pod_goes_by_the_uid_that_its_file_gives_it() {
    let mut pods = Pods::default();
    pods.apply(mirror(1, "my-etcd-01"));
    check(&pods, &format!("/kubepods/burstable/podmy-etcd-01/{}", id(9)), "shop/web-1/-");
    check(&pods, "/kubepods.slice/kubepods-podmy_etcd_01.slice", "shop/web-1/-");
    pods.apply(mirror(2, &uid(99).to_string()));
    check(&pods, &format!("/kubepods/burstable/pod{}/{}", uid(99), id(9)), "shop/web-2/-");
    let slice = format!("/kubepods.slice/kubepods-pod{}.slice", uid(99).to_string().replace('-', "_"));
    check(&pods, &slice, "shop/web-2/-");
}

#[test]
fn a_hash_that_another_pod_has_is_not_given_to_whoever_claims_it() {
    let mut pods = Pods::default();
    pods.apply(mirror(1, HASH));
    pods.apply(mirror(2, HASH));
    let path = format!("/kubepods/pod{HASH}");
    check(&pods, &path, "shop/web-1/-");
    // News of either changes nothing.
    pods.apply(Pod { name: "renamed".into(), ..mirror(1, HASH) });
    pods.apply(Pod { name: "renamed-too".into(), ..mirror(2, HASH) });
    check(&pods, &path, "shop/renamed/-");
    pods.delete(uid(1), START);
    check(&pods, &path, "shop/renamed-too/-");
    // A pod's own UID is its own, whoever came first.
    pods.apply(mirror(3, &uid(4).to_string()));
    pods.apply(with_app(4));
    check(&pods, &format!("/kubepods/pod{}", uid(4)), "shop/web-4/-");
}

#[test]
fn scope_is_told_of_no_two_pods_the_same() {
    let mut pods = Pods::default();
    let told = |pods: &Pods, n: usize| {
        let path = format!("0::/kubepods/pod{}", uid(n));
        agent::counting::living::Place::from(pods.resolve(&candidates(&path)).unwrap()).scope_uid
    };
    pods.apply(mirror(1, HASH));
    pods.apply(mirror(2, HASH));
    pods.apply(mirror(3, &uid(4).to_string()));
    pods.apply(with_app(4));
    let all = [1, 2, 3, 4].map(|n| told(&pods, n).to_string());
    assert_eq!(all, [HASH.to_owned(), uid(2).to_string(), uid(3).to_string(), uid(4).to_string()]);
}

#[test]
fn a_pod_of_another_cluster_is_unknown_not_wrong() {
    let mut pods = Pods::default();
    pods.apply(with_app(1));
    check(&pods, &format!("/kubepods/pod{}/{}", uid(2), id(102)), "-");
    check(&pods, "/system.slice/sshd.service", "-");
}

#[test]
fn a_restarted_container_keeps_its_name_for_its_last_counts() {
    let mut pods = Pods::default();
    let path = |n| format!("/kubepods/pod{}/{}", uid(1), id(n));
    for instance in 0..MAX_CONTAINERS + 10 {
        pods.apply(pod(1, vec![container("app", instance, ContainerKind::Regular)]));
    }
    let newest = MAX_CONTAINERS + 9;
    check(&pods, &path(newest), "shop/web-1/app");
    check(&pods, &path(newest - 1), "shop/web-1/app");
    check(&pods, &path(0), "shop/web-1/-"); // beyond the bound: the pod is still known
    check(&pods, &format!("/docker/{}", id(0)), "-");
}

#[test]
fn a_deleted_pod_keeps_its_name_for_a_while() {
    let mut pods = Pods::default();
    pods.apply(with_app(1));
    pods.delete(uid(1), START);
    pods.delete(uid(1), START + Duration::from_secs(60)); // said twice: the first counts
    assert_eq!(pods.live(), 0);
    let path = format!("/kubepods/pod{}/{}", uid(1), id(101));
    pods.sweep(START + DELETED_KEPT - Duration::from_nanos(1));
    check(&pods, &path, "shop/web-1/app");
    pods.sweep(START + DELETED_KEPT);
    check(&pods, &path, "-");
    check(&pods, &format!("/docker/{}", id(101)), "-");
}

#[test]
fn a_pod_that_comes_back_is_not_swept() {
    let mut pods = Pods::default();
    pods.apply(with_app(1));
    pods.delete(uid(1), START);
    pods.apply(with_app(1));
    pods.sweep(START + DELETED_KEPT);
    check(&pods, &format!("/docker/{}", id(101)), "shop/web-1/app");
}

#[test]
fn what_a_fresh_list_lacks_was_deleted_meanwhile() {
    let mut pods = Pods::default();
    pods.replace(vec![with_app(1), with_app(2)], START);
    pods.replace(vec![with_app(2), with_app(3)], START);
    assert_eq!(pods.live(), 2);
    check(&pods, &format!("/docker/{}", id(101)), "shop/web-1/app");
    pods.sweep(START + DELETED_KEPT);
    check(&pods, &format!("/docker/{}", id(101)), "-");
    check(&pods, &format!("/docker/{}", id(102)), "shop/web-2/app");
}

#[test]
fn the_bounds_hold() {
    let mut pods = Pods::default();
    for n in 0..MAX_PODS + 5 {
        pods.apply(with_app(n));
    }
    assert_eq!((pods.live(), pods.refused()), (MAX_PODS, 5));
    // Changes of a known pod are taken in at the bound, and a deletion makes room.
    pods.apply(pod(1, vec![container("other", 9_999_999, ContainerKind::Regular)]));
    check(&pods, &format!("/docker/{}", id(9_999_999)), "shop/web-1/other");
    for n in 0..MAX_PODS {
        pods.delete(uid(n), START);
    }
    for n in MAX_PODS..MAX_PODS + 5 {
        pods.apply(with_app(n));
        pods.delete(uid(n), START);
    }
    let oldest = MAX_PODS + 5 - MAX_DELETED;
    check(&pods, &format!("/docker/{}", id(100 + oldest - 1)), "-");
    check(&pods, &format!("/docker/{}", id(100 + oldest)), &format!("shop/web-{oldest}/app"));
}

#[test]
fn the_version_tells_whether_answers_may_differ() {
    let mut pods = Pods::default();
    let mut changes = |change: &dyn Fn(&mut Pods)| {
        let before = pods.version();
        change(&mut pods);
        pods.version() != before
    };
    assert!(changes(&|pods| pods.apply(with_app(1))));
    assert!(!changes(&|pods| pods.apply(with_app(1))), "the same again");
    assert!(changes(&|pods| pods.apply(pod(1, vec![container("app", 7, ContainerKind::Regular)]))));
    assert!(!changes(&|pods| pods.delete(uid(1), START)), "it keeps its name");
    assert!(changes(&|pods| pods.sweep(START + DELETED_KEPT)));
    assert!(!changes(&|pods| pods.sweep(START + 2 * DELETED_KEPT)));
}
