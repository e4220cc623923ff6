//! What a fuzzer's bytes are used for: a text at the front, choices at the end.
//!
//! Choices are taken from the end, so that the text stays where it is, readable in a corpus' file, and a byte put into it
//! changes no choice.

/// The bytes of one execution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'d> {
    rest: &'d [u8],
}

impl<'d> Input<'d> {
    /// All bytes but what is over the bound: time is linear in them.
    pub(crate) fn new(data: &'d [u8]) -> Self {
        Self {
            rest: data.get(..super::LONGEST).unwrap_or(data),
        }
    }

    /// A byte from the end; 0 when none is left.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((last, rest)) = self.rest.split_last() else {
            return 0;
        };
        self.rest = rest;
        *last
    }

    /// Two bytes from the end.
    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Eight bytes from the end.
    pub(crate) fn long(&mut self) -> u64 {
        u64::from_le_bytes(core::array::from_fn(|_| self.byte()))
    }

    /// One of these, by a byte from the end.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// What is left at the front.
    pub(crate) fn rest(self) -> &'d [u8] {
        self.rest
    }
}

/// Cuts bytes into pieces, the same ones for the same seed: one piece for 0, single bytes for 1, any for others.
pub(crate) fn cut(bytes: &[u8], seed: u16) -> Vec<&[u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while !rest.is_empty() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let spread = [1, 3, 8, 40, 200][usize::from(seed) % 5];
        let length = match seed {
            0 => rest.len(),
            1 => 1,
            _ => usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap_or(0) % spread,
        };
        // Empty pieces come too: hosts send them.
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        if piece.is_empty() {
            let (piece, after) = rest.split_at(1);
            pieces.push(piece);
            rest = after;
        } else {
            rest = after;
        }
    }
    pieces
}
