//! What programs on one CPU share, where the kernel may let another one in between: counters, and areas that are claimed.

use crate::kernel::{add, add_in_order};

/// Adds to a counter of this CPU.
#[inline(always)]
pub(crate) fn increase(counter: &mut u64, number: u64) {
    if crate::ALONE {
        *counter += number;
    } else {
        add(counter, number);
    }
}

/// Claims what has so many `holders`: nobody else's, or it is not to be touched. Who has claimed gives it back.
#[inline(always)]
pub(crate) fn claims(holders: &mut u64) -> bool {
    if crate::ALONE {
        return true;
    }
    if add_in_order(holders, 1) == 0 {
        return true;
    }
    gives_back(holders);
    false
}

/// Gives back what was claimed.
#[inline(always)]
pub(crate) fn gives_back(holders: &mut u64) {
    if !crate::ALONE {
        add(holders, u64::MAX);
    }
}
