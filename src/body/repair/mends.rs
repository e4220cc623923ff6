//! The kinds of mending, and sets of them.

use core::fmt;

/// One kind of mending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mend {
    /// A code fence around the answer was dropped.
    Fence,
    /// Text before, after or between was dropped.
    Prose,
    /// A comma behind the last value was dropped, or one between two lines put in.
    Comma,
    /// Other quotes became double ones, or a name got its quotes.
    Quotes,
    /// Quotes inside of a string were escaped.
    InnerQuotes,
    /// Newlines, tabs and other control characters in a string were escaped.
    Control,
    /// An escape that JSON doesn't have was read as what it stands for.
    Escape,
    /// `True`, `False`, `None`, or a number with a sign or without a digit.
    Literal,
    /// Comments were dropped.
    Comment,
    /// Spaces that JSON doesn't know, and a byte order mark.
    Space,
    /// Brackets missing at the end were added.
    Closed,
    /// Brackets too many were dropped.
    Extra,
    /// The same answer came again and was dropped.
    Doubled,
    /// The whole answer was escaped as a string.
    Unescaped,
}

impl Mend {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Fence,
        Self::Prose,
        Self::Comma,
        Self::Quotes,
        Self::InnerQuotes,
        Self::Control,
        Self::Escape,
        Self::Literal,
        Self::Comment,
        Self::Space,
        Self::Closed,
        Self::Extra,
        Self::Doubled,
        Self::Unescaped,
    ];

    /// Its name in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fence => "fence",
            Self::Prose => "prose",
            Self::Comma => "comma",
            Self::Quotes => "quotes",
            Self::InnerQuotes => "inner_quotes",
            Self::Control => "control",
            Self::Escape => "escape",
            Self::Literal => "literal",
            Self::Comment => "comment",
            Self::Space => "space",
            Self::Closed => "closed",
            Self::Extra => "extra",
            Self::Doubled => "doubled",
            Self::Unescaped => "unescaped",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of kinds. Its `Display` is their names, with commas between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mends(u16);

impl Mends {
    /// Whether a kind is among them.
    #[must_use]
    pub fn has(self, mend: Mend) -> bool {
        self.0 & mend.bit() != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds among them.
    pub fn iter(self) -> impl Iterator<Item = Mend> {
        Mend::ALL.into_iter().filter(move |mend| self.has(*mend))
    }

    pub(super) fn add(&mut self, mend: Mend) {
        self.0 |= mend.bit();
    }

    /// Adds the kinds of another set.
    pub fn join(&mut self, others: Self) {
        self.0 |= others.0;
    }
}

impl fmt::Display for Mends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mend) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}", mend.as_str())?;
        }
        Ok(())
    }
}
