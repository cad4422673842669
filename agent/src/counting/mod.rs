//! Counting: from the kernel's cumulative readings to rates, totals and names. Hands out a snapshot a tick, and the same as an overview by
//! process, container and pod.

pub mod answered;
pub mod carried;
pub mod counts;
pub mod ended;
pub mod history;
pub mod identity;
pub mod living;
pub mod overview;
pub mod placing;
pub mod plaintext;
pub mod quantile;
pub mod rates;
pub mod recent;
pub mod responded;
pub mod responding;
pub mod responses;
pub mod shown;
pub mod snapshot;
pub mod summary;
pub mod tick;
pub mod tls;
