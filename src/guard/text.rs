//! Bytes to look around in.
//!
//! The invariant: a place outside of the text holds NUL, which belongs to nothing that is looked for; so no look-around
//! needs a bound of its own.

/// A text, or the part of a stream that is in sight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'t>(pub(super) &'t [u8]);

impl<'t> Text<'t> {
    pub(super) fn at(self, place: usize) -> u8 {
        self.0.get(place).copied().unwrap_or(0)
    }

    /// The byte before the place.
    pub(super) fn before(self, place: usize) -> u8 {
        place.checked_sub(1).map_or(0, |before| self.at(before))
    }

    pub(super) fn slice(self, from: usize, to: usize) -> &'t [u8] {
        self.0.get(from..to.min(self.0.len())).unwrap_or_default()
    }

    pub(super) fn has(self, place: usize, word: &[u8]) -> bool {
        self.0.get(place..).is_some_and(|rest| rest.starts_with(word))
    }

    /// Whether the word ends at the place.
    pub(super) fn ends(self, place: usize, word: &[u8]) -> bool {
        self.0.get(..place).is_some_and(|head| head.ends_with(word))
    }

    /// Where a run of such bytes ends that begins at `from`, at most `most` bytes on.
    pub(super) fn run(self, from: usize, most: usize, is: impl Fn(u8) -> bool) -> usize {
        let rest = self.slice(from, from.saturating_add(most));
        from + rest.iter().position(|byte| !is(*byte)).unwrap_or(rest.len())
    }

    /// Where a run of such bytes begins that ends before `to`, at most `most` bytes back.
    pub(super) fn run_back(self, to: usize, most: usize, is: impl Fn(u8) -> bool) -> usize {
        let head = self.slice(to.saturating_sub(most), to);
        to - head
            .iter()
            .rev()
            .position(|byte| !is(*byte))
            .unwrap_or(head.len())
    }
}

/// ASCII letters and digits.
pub(super) fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// ASCII digits.
pub(super) fn digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// The alphabet of base64url (RFC 4648 §5).
pub(super) fn base64url(byte: u8) -> bool {
    alnum(byte) || matches!(byte, b'-' | b'_')
}
