//! The middle of many measurements, and how far they spread.

use serde::Serialize;

/// Median and quartiles.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Spread {
    /// `None` of no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values.get((values.len().checked_sub(1)? * quarter + 2) / 4).copied();
        Some(Self { median: at(2)?, lower: at(1)?, upper: at(3)? })
    }

    /// One value, measured once.
    pub(crate) fn once(value: f64) -> Self {
        Self { median: value, lower: value, upper: value }
    }

    pub(crate) fn is_single(&self) -> bool {
        self.lower == self.upper
    }
}
