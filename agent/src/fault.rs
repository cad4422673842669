//! A fault that lasts is said once, then counted, then its end is said. PURE.

/// What there is to say after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It has just begun to fail.
    Begun,
    /// It works again after so many failures.
    Over(u64),
    /// Nothing new.
    Nothing,
}

/// Something that may fail again and again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fault {
    failures: u64,
}

impl Fault {
    /// Takes note of an attempt.
    pub fn note(&mut self, failed: bool) -> Say {
        let before = self.failures;
        self.failures = if failed { before + 1 } else { 0 };
        match (failed, before) {
            (true, 0) => Say::Begun,
            (true, _) | (false, 0) => Say::Nothing,
            (false, failures) => Say::Over(failures),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_then_counted_then_its_end() {
        let mut fault = Fault::default();
        let said: Vec<_> =
            [false, true, true, true, false, false, true].into_iter().map(|failed| fault.note(failed)).collect();
        let nothing = Say::Nothing;
        assert_eq!(said, [nothing, Say::Begun, nothing, nothing, Say::Over(3), nothing, Say::Begun]);
    }
}
