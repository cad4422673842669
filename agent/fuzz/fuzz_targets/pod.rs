//! A pod as the API server sends it, of which whoever made it has chosen the most.
#![no_main]

use agent::pods::index::Pods;
use agent::pods::object::PodObject;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(object) = serde_json::from_slice::<PodObject>(data)
        && let Some(pod) = object.pod
    {
        let mut pods = Pods::default();
        pods.apply(pod);
    }
});
