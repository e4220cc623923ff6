//! Putting other contents into a body's strings.

use core::ops::Range;

use crate::guard::place;

/// A body with some parts replaced, which come in its order.
#[derive(Debug)]
pub(super) struct Spans<'b> {
    body: &'b [u8],
    out: Vec<u8>,
    sent: usize,
}

impl<'b> Spans<'b> {
    /// Nothing replaced yet.
    pub(super) fn of(body: &'b [u8]) -> Self {
        Self {
            body,
            out: Vec::new(),
            sent: 0,
        }
    }

    /// Puts other bytes in the place of a part of the body.
    pub(super) fn put(&mut self, part: &[u8], with: &[u8]) {
        let Some(Range { start, end }) = place(self.body, part).filter(|place| place.start >= self.sent)
        else {
            return;
        };
        self.out
            .extend_from_slice(self.body.get(self.sent..start).unwrap_or_default());
        self.out.extend_from_slice(with);
        self.sent = end;
    }

    /// The body; none when it is as it was.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if self.sent == 0 {
            return None;
        }
        self.out
            .extend_from_slice(self.body.get(self.sent..).unwrap_or_default());
        Some(self.out)
    }
}
