//! The agent: reads the kernel's counts once a tick and shows them.
pub mod api_trouble;
pub mod ask;
pub mod cgroup;
pub mod cgroup_ids;
pub mod cgroup_tree;
pub mod counts;
pub mod health;
pub mod pod_object;
pub mod pod_watch;
pub mod pods;
