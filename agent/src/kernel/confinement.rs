//! What an AppArmor profile withholds from this process, though its credentials have it. EDGE.
//!
//! Such a capability is missing to whoever asks for it by capget(2), and root has it all the same: to add it helps nothing.

use std::fs;

/// The profiles that were named, in the order in which kernels came to have them.
const PROFILES: [&str; 2] = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"];
/// Capabilities by their numbers in include/uapi/linux/capability.h.
const NUMBERS: [(&str, u32); 2] = [("CAP_BPF", 39), ("CAP_PERFMON", 38)];

/// What to do about a profile that withholds these.
#[must_use]
pub fn cure(withheld: &[&str]) -> String {
    let rules = withheld.iter().map(|name| format!("capability {},", name.trim_start_matches("CAP_").to_lowercase()));
    format!(
        "run without it, in Kubernetes by securityContext.appArmorProfile.type=Unconfined, in Docker by --security-opt apparmor=unconfined; or have it say `{}` and not deny them",
        rules.collect::<Vec<_>>().join(" ")
    )
}

/// The profile that holds here and withholds these capabilities; `None` if they are missing otherwise.
#[must_use]
pub fn withholds(missing: &[&str]) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let has = |name: &&str| NUMBERS.iter().any(|(known, number)| known == name && is_effective(&status, *number));
    missing.iter().all(has).then(profile)?
}

/// The profile that is enforced here.
#[must_use]
pub fn profile() -> Option<String> {
    PROFILES.iter().find_map(|path| enforced(&fs::read_to_string(path).ok()?).map(str::to_owned))
}

/// `NAME (enforce)`, or `unconfined`. SELinux has the second file, too, and no such words.
fn enforced(text: &str) -> Option<&str> {
    text.trim_end_matches(['\n', '\0']).strip_suffix(" (enforce)")
}

fn is_effective(status: &str, number: u32) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
    set.and_then(|set| u64::from_str_radix(set, 16).ok()).is_some_and(|set| set >> number & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_enforced_withholds() {
        assert_eq!(enforced("cri-containerd.apparmor.d (enforce)\n"), Some("cri-containerd.apparmor.d"));
        for text in ["unconfined\n", "p (complain)\n", "system_u:system_r:container_t:s0\0", ""] {
            assert_eq!(enforced(text), None, "{text:?}");
        }
    }

    #[test]
    fn credentials_are_read() {
        let status = "CapPrm:\t000001ffffffffff\nCapEff:\t0000008000000000\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(NUMBERS.map(|(_, number)| is_effective(status, number)), [true, false]);
        assert!(!is_effective("", 39));
    }

    #[test]
    fn the_rules_are_those_that_are_missing() {
        assert!(cure(&["CAP_BPF", "CAP_PERFMON"]).contains("say `capability bpf, capability perfmon,` and"));
        assert!(cure(&["CAP_PERFMON"]).contains("say `capability perfmon,` and"));
    }
}
