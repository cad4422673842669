//! A cgroup's text, which whoever made the cgroup has chosen: a name that is found stands in it.
#![no_main]

use agent::pods::cgroup::candidates;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for candidate in candidates(&text) {
        assert!(candidate.pod.is_some() || candidate.container.is_some());
        if let Some(container) = candidate.container {
            assert!(text.contains(&container.to_string()), "{container}");
        }
    }
});
