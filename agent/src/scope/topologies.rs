//! Which of Scope's topologies the report fills. PURE.

/// A topology of Scope's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Each process.
    Process,
    /// Each container, with the sum over its processes.
    Container,
    /// Each pod, likewise.
    Pod,
    /// The machine, with the sum over all processes.
    Host,
}

impl Topology {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Process, Self::Container, Self::Pod, Self::Host];

    /// As people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Host => "host",
        }
    }

    /// As Scope writes it. Scope ignores keys in any other case.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Process => "Process",
            Self::Container => "Container",
            Self::Pod => "Pod",
            Self::Host => "Host",
        }
    }
}

/// A choice of topologies, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topologies([bool; Topology::ALL.len()]);

impl Topologies {
    /// Every one of them.
    pub const ALL: Self = Self([true; Topology::ALL.len()]);

    /// Reads `process,pod`.
    ///
    /// # Errors
    ///
    /// What is wrong with the list, in one line.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut chosen = [false; Topology::ALL.len()];
        for name in list.split(',').map(str::trim) {
            let known = Topology::ALL.iter().find(|topology| topology.name() == name);
            let topology =
                known.ok_or_else(|| format!("{name:?} is none of {}", Topology::ALL.map(Topology::name).join(", ")))?;
            chosen[*topology as usize] = true;
        }
        Ok(Self(chosen))
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(self, topology: Topology) -> bool {
        self.0[topology as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, expected: &[Topology]) {
        let chosen = Topologies::parse(list).unwrap();
        assert_eq!(
            Topology::ALL.into_iter().filter(|topology| chosen.contains(*topology)).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn lists() {
        check("process", &[Topology::Process]);
        check("pod, container", &[Topology::Container, Topology::Pod]);
        check("host,process,pod,container,pod", &Topology::ALL);
        assert_eq!(Topologies::parse("process,container,pod,host"), Ok(Topologies::ALL));
    }

    #[test]
    fn what_is_none_is_named_with_what_there_is() {
        for list in ["", "Process", "process,", "pods"] {
            let error = Topologies::parse(list).unwrap_err();
            assert!(error.ends_with("is none of process, container, pod, host"), "{error}");
        }
    }
}
