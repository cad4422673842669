//! Who may stay when connections are too many. PURE.

use core::net::IpAddr;
use std::time::Instant;

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// Where its client is; all clients of a Unix socket are one.
    pub(crate) peer: Option<IpAddr>,
    /// Since when it has no answer under way.
    pub(crate) idle_since: Option<Instant>,
}

/// What becomes of one connection more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// There is room.
    Free,
    /// It takes the place of the one with this index.
    InsteadOf(usize),
    /// There is none, and nobody can go.
    Full,
}

/// Decides on a further connection from `peer`, where there may be `all`, and `share` from one peer. Of too many that
/// one goes which has been idle for longest: a client that has just come is about to ask.
pub(crate) fn admit(seats: &[Seat], peer: Option<IpAddr>, (all, share): (usize, usize)) -> Admission {
    let is_greedy = seats.iter().filter(|seat| seat.peer == peer).count() >= share;
    if !is_greedy && seats.len() < all {
        return Admission::Free;
    }
    let candidates = seats.iter().enumerate().filter(|(_, seat)| !is_greedy || seat.peer == peer);
    let idle = candidates.filter_map(|(index, seat)| Some((seat.idle_since?, index)));
    idle.min().map_or(Admission::Full, |(_, index)| Admission::InsteadOf(index))
}

#[cfg(test)]
mod tests {
    use super::Admission::{Free, Full, InsteadOf};
    use super::*;
    use std::time::Duration;

    const LIMITS: (usize, usize) = (4, 2);

    /// A seat from the last byte of an address, idle for so many seconds; 0 for one that is answered.
    fn seats(of: &[(u8, u64)]) -> Vec<Seat> {
        let now = Instant::now() + Duration::from_secs(1000);
        let seat = |(peer, idle): &(u8, u64)| Seat {
            peer: Some([10, 0, 0, *peer].into()),
            idle_since: (*idle > 0).then(|| now - Duration::from_secs(*idle)),
        };
        of.iter().map(seat).collect()
    }

    #[track_caller]
    fn check(of: &[(u8, u64)], peer: u8, expected: Admission) {
        assert_eq!(admit(&seats(of), Some([10, 0, 0, peer].into()), LIMITS), expected);
    }

    #[test]
    fn the_longest_idle_goes_and_that_of_a_greedy_peer_first() {
        check(&[], 1, Free);
        check(&[(1, 5), (2, 5)], 1, Free);
        check(&[(2, 9), (1, 5), (1, 7)], 1, InsteadOf(2));
        check(&[(2, 9), (1, 5), (1, 0)], 1, InsteadOf(1));
        check(&[(2, 9), (1, 0), (1, 0)], 1, Full);
        check(&[(2, 9), (1, 5), (1, 7)], 3, Free);
        check(&[(2, 3), (1, 5), (1, 7), (2, 0)], 3, InsteadOf(2));
        check(&[(2, 0), (1, 0), (1, 0), (2, 0)], 3, Full);
    }

    #[test]
    fn clients_of_a_unix_socket_are_one_peer() {
        let seat = Seat { peer: None, idle_since: None };
        assert_eq!(admit(&[seat; 3], None, (4, 4)), Free);
        assert_eq!(admit(&[seat; 4], None, (4, 4)), Full);
    }
}
