//! What two tokens merge to: a perfect hash over the pairs that merge, whose slots hold the pair itself, so that a pair
//! that doesn't merge is told for certain. Most of those that don't are told by a byte before their slot is read: a processor's
//! second cache holds these bytes, but not the slots.

use crate::hash;

/// A token: its rank and, below it, hints as to which tokens it merges with. Of two tokens the one of lower rank is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(u32);

impl Token {
    /// No token: greater than each, and merges with none.
    pub const NONE: Self = Self(1 << 26);

    /// Its rank, which is its id: merges happen in the order of what they make.
    #[inline]
    #[must_use]
    pub const fn rank(self) -> u32 {
        self.0 >> HINTS
    }

    /// As a number, at most 2^26.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// What [`Token::bits`] told.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether it is a single byte.
    #[inline]
    const fn is_byte(self) -> bool {
        self.rank() >> 8 == 0
    }

    /// False for most pairs that don't merge: then no table needs to be read.
    #[inline]
    const fn may_precede(self, right: Self) -> bool {
        self.0 >> (right.rank() & 3) & right.0 >> (4 + (self.rank() & 3)) & 1 == 1
    }
}

/// Bits of a token for its hints.
const HINTS: u32 = 8;
const BYTES: usize = 256;
const SLOT: usize = 7;
/// The bits of an entry for what the pair merges to, and, above them, for the pair.
const MERGED: u64 = (1 << 26) - 1;
const REST: u64 = (1 << 28) - 1;
const GRID: usize = BYTES * BYTES;
const CROSSINGS: usize = 64 * 64;

/// Sizes of the parts of the table that differ between encodings.
struct Layout {
    slots: usize,
    twos: usize,
    buckets: usize,
}

/// The merges of an encoding.
#[derive(Debug)]
pub struct Pairs {
    /// Seven bytes each, and one byte more: the pair's name but for its tag (28 bits), and what it merges to (26).
    slots: &'static [u8],
    /// For each slot, the first byte of its pair's name.
    tags: &'static [u8],
    /// The token of each byte.
    bytes: &'static [[u8; 4]],
    /// The tokens of two bytes.
    twos: &'static [[u8; 4]],
    /// For two ids of bytes: 1 + an index into `twos`, or 0.
    grid: &'static [[u8; 2]],
    /// See [`Pairs::into_part`].
    into: &'static [[u8; 2]],
    /// See [`Pairs::out_of_part`].
    out_of: &'static [[u8; 2]],
    pilots: &'static [[u8; 2]],
    slot_count: u32,
    pilot_count: u32,
}

#[cfg(feature = "o200k")]
/// `o200k_base`.
pub static O200K: Pairs = Pairs::of(
    include_bytes!(concat!(env!("OUT_DIR"), "/o200k.bin")),
    &include!(concat!(env!("OUT_DIR"), "/o200k.rs")),
);

#[cfg(feature = "cl100k")]
/// `cl100k_base`.
pub static CL100K: Pairs = Pairs::of(
    include_bytes!(concat!(env!("OUT_DIR"), "/cl100k.bin")),
    &include!(concat!(env!("OUT_DIR"), "/cl100k.rs")),
);

impl Pairs {
    #[allow(dead_code, reason = "without any feature")]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "evaluated when compiled; below 2^18"
    )]
    const fn of(file: &'static [u8], layout: &Layout) -> Self {
        let (slots, file) = file.split_at(layout.slots * SLOT + 1);
        let (tags, file) = file.split_at(layout.slots);
        let (bytes, file) = file.split_at(BYTES * 4);
        let (twos, file) = file.split_at(layout.twos * 4);
        let (grid, file) = file.split_at(GRID * 2);
        let (into, file) = file.split_at(CROSSINGS * 2);
        let (out_of, pilots) = file.split_at(CROSSINGS * 2);
        assert!(pilots.len() == layout.buckets * 2, "the file is of this layout");
        Self {
            slots,
            tags,
            bytes: bytes.as_chunks().0,
            twos: twos.as_chunks().0,
            grid: grid.as_chunks().0,
            into: into.as_chunks().0,
            out_of: out_of.as_chunks().0,
            pilots: pilots.as_chunks().0,
            slot_count: layout.slots as u32,
            pilot_count: layout.buckets as u32,
        }
    }

    /// Bytes of the table.
    #[must_use]
    pub fn size(&self) -> usize {
        let words = [self.grid, self.into, self.out_of, self.pilots];
        let words: usize = words.iter().map(|part| part.as_flattened().len()).sum();
        let tokens = self.bytes.as_flattened().len() + self.twos.as_flattened().len();
        self.slots.len() + self.tags.len() + tokens + words
    }

    /// The token of a byte.
    #[inline]
    #[must_use]
    pub fn byte(&self, byte: u8) -> Token {
        let bits = self.bytes.get(usize::from(byte)).copied().unwrap_or_default();
        Token(u32::from_le_bytes(bits))
    }

    /// What `left` and `right` merge to; none is greater than every token.
    #[inline]
    #[must_use]
    pub fn merged(&self, left: Token, right: Token) -> Token {
        if left.is_byte() && right.is_byte() {
            self.two(left, right)
        } else {
            self.more(left, right)
        }
    }

    /// What two tokens of bytes merge to. These pairs, where all merging begins, lie close together.
    #[inline]
    #[must_use]
    pub fn two(&self, left: Token, right: Token) -> Token {
        let cell = (left.rank() << 8 | right.rank()) as usize;
        let index = self.grid.get(cell).map_or(0, |index| u16::from_le_bytes(*index));
        let bits = self.twos.get(usize::from(index).wrapping_sub(1));
        bits.map_or(Token::NONE, |bits| Token(u32::from_le_bytes(*bits)))
    }

    /// What two tokens merge to that aren't both bytes.
    ///
    /// Nobody can foretell whether they do, and the slot is seldom near: so this has no jumps that depend on it, and a
    /// processor can ask twice at once.
    #[inline]
    #[must_use]
    pub fn more(&self, left: Token, right: Token) -> Token {
        let pair = u64::from(left.rank()) << 18 | u64::from(right.rank());
        // Of the pairs that needn't be looked up, all look at one place, which is near.
        let asked = if left.may_precede(right) { pair } else { 0 };
        let scrambled = hash::scramble(asked);
        let pilot = self.pilots.get(hash::bucket(scrambled, self.pilot_count));
        let pilot = pilot.map_or(0, |pilot| u16::from_le_bytes(*pilot));
        let slot = hash::slot(scrambled, pilot, self.slot_count);
        let (tag, rest) = hash::name(pair);
        let tagged = self.tags.get(slot).copied() == Some(tag);
        let entry = self.slots.get(if tagged { slot * SLOT } else { 0 }..);
        let entry = entry
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |entry| u64::from_le_bytes(*entry));
        if tagged & (entry >> 26 & REST == u64::from(rest)) {
            Token((entry & MERGED) as u32)
        } else {
            Token::NONE
        }
    }

    /// Between a character beyond ASCII that ends in the byte `last` and one that begins with `first`: no merge that takes
    /// only a part of the second is of a rank lower than this.
    #[inline]
    #[must_use]
    pub fn into_part(&self, last: u8, first: u8) -> u32 {
        crossing(self.into, last, first)
    }

    /// The same of a merge that takes only a part of the first character.
    #[inline]
    #[must_use]
    pub fn out_of_part(&self, last: u8, first: u8) -> u32 {
        crossing(self.out_of, last, first)
    }
}

#[inline]
fn crossing(fours: &[[u8; 2]], last: u8, first: u8) -> u32 {
    let cell = usize::from(last & 63) << 6 | usize::from(first & 63);
    let fours = fours.get(cell).map_or(0, |fours| u16::from_le_bytes(*fours));
    u32::from(fours) * 4
}
