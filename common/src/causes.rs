//! How an enum of causes is declared: once, so that no variant lacks a counter, a name or a sentence. PURE.

/// An enum whose variants are causes that something is not known for, each with its name in metrics and its sentence.
macro_rules! causes {
    ($(#[doc = $doc:literal])* $enum:ident: $($variant:ident = $name:literal, $sentence:literal;)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $enum {
            $(#[doc = $sentence] $variant,)*
        }

        impl $enum {
            /// Every cause, in the order of its counter.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// How many causes there are: the number of counters.
            pub const COUNT: usize = Self::ALL.len();

            /// The cause's name as metrics and logs show it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happened, in one sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

pub(crate) use causes;
