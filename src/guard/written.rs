//! How a text is written: as it is, or as JSON within the string that holds it.
//!
//! The invariant: what was JSON stays JSON, whatever is masked in it or put back.

use super::escape;

/// How a text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    /// As it is.
    #[default]
    Plainly,
    /// As JSON: a tool's arguments.
    AsJson,
}

/// A text as far as it was gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    written: Written,
    /// Within one of the strings of a text that is JSON.
    inside: bool,
    after_backslash: bool,
}

impl Way {
    /// At the beginning of a text.
    pub(super) fn of(written: Written) -> Self {
        Self {
            written,
            ..Self::default()
        }
    }

    /// Goes on over a part of the text.
    pub(super) fn pass(&mut self, text: &[u8]) {
        if self.written == Written::Plainly {
            return;
        }
        for byte in text {
            let escaped = core::mem::take(&mut self.after_backslash);
            match byte {
                b'"' if !escaped => self.inside = !self.inside,
                b'\\' if !escaped => self.after_backslash = self.inside,
                _ => {}
            }
        }
    }

    /// A value as it stands here: outside of strings it is one of its own.
    pub(super) fn value(&self, value: Vec<u8>) -> Vec<u8> {
        match self.written {
            Written::Plainly => value,
            Written::AsJson if self.inside => escape::in_json(&value),
            Written::AsJson => [b"\"", &*escape::in_json(&value), b"\""].concat(),
        }
    }
}
