//! Pods: which pod and container a cgroup belongs to, as the API server and the cgroup's own text tell. Hands out an index of this node's pods.

pub mod cgroup;
pub mod cluster;
pub mod index;
pub mod news;
pub mod object;
mod pauses;
pub mod trouble;
pub mod watch;
