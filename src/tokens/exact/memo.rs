//! Short pretokens that were counted lately: chat text repeats its words. Exact: a slot holds the whole pretoken.

/// A slot is 16 bytes: at most 15 of text, and a byte for the encoding (high half) and the tokens (low half, 0: free).
const LONGEST: usize = 15;
/// 128 KiB in all: what the second-level cache of a core holds beside the table's busy parts.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 13;
const TOKENS: u64 = 0xf << 56;

/// Which slot, and what must be in it.
#[derive(Debug)]
pub(super) struct Key {
    low: u64,
    /// The rest of the text, and the encoding.
    high: u64,
    slot: usize,
}

impl Key {
    /// None if the pretoken is too long for a slot, or ends in NUL, which its padding couldn't be told from.
    #[inline]
    pub(super) fn of(text: &[u8], at: usize, length: usize, tag: u64) -> Option<Self> {
        if length > LONGEST || text.get(at + length - 1) == Some(&0) {
            return None;
        }
        let (low, high) = words(text, at, length)?;
        let high = high | tag << 60;
        let mixed = low.wrapping_add(high.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOT_BITS);
        Some(Self {
            low,
            high,
            slot: usize::try_from(hash).unwrap_or(0),
        })
    }
}

/// The bytes as two little-endian words, zeros after them.
#[inline]
fn words(text: &[u8], at: usize, length: usize) -> Option<(u64, u64)> {
    let rest = text.get(at..)?;
    let (low, high) = match rest.first_chunk::<16>() {
        Some(bytes) => halves(bytes),
        None => {
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            halves(&bytes)
        }
    };
    if length <= 8 {
        Some((low & u64::MAX >> (64 - 8 * length), 0))
    } else {
        Some((low, high & u64::MAX >> (128 - 8 * length)))
    }
}

#[inline]
fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
    let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    (low, u64::from_le_bytes([i, j, k, l, m, n, o, p]))
}

/// A direct-mapped cache of counts.
#[derive(Debug)]
pub(super) struct Memo {
    slots: Box<[[u64; 2]]>,
}

impl Memo {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![[0; 2]; SLOTS].into_boxed_slice(),
        }
    }

    /// The tokens, if the slot is this pretoken's.
    #[inline]
    pub(super) fn recall(&self, key: &Key) -> Option<u64> {
        let [low, high] = *self.slots.get(key.slot)?;
        let tokens = (high & TOKENS) >> 56;
        (low == key.low && high & !TOKENS == key.high && tokens != 0).then_some(tokens)
    }

    /// Takes the slot.
    #[inline]
    pub(super) fn keep(&mut self, key: &Key, tokens: u64) {
        if let Some(slot) = self.slots.get_mut(key.slot) {
            *slot = [key.low, key.high | tokens << 56 & TOKENS];
        }
    }
}
