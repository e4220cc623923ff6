//! The hash of a pair: shared by the generator, which places the pairs, and the reader, which finds them.

/// Free slots: 1 in 50. Fewer would make the generator's search long.
#[allow(dead_code, reason = "the generator's")]
pub(crate) const fn slots_for(pairs: usize) -> usize {
    pairs + pairs / 50 + 1
}

/// Pairs that share a pilot, on average: about as many as two bytes of pilot can still place.
#[allow(dead_code, reason = "the generator's")]
pub(crate) const fn buckets_for(pairs: usize) -> usize {
    pairs / 5 + 1
}

/// Scrambles a pair: its first id above its second, of 18 bits.
#[inline]
pub(crate) const fn scramble(pair: u64) -> u64 {
    pair.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The bucket of a scrambled pair.
#[inline]
pub(crate) const fn bucket(scrambled: u64, buckets: u32) -> usize {
    reduce(scrambled, buckets)
}

/// A pair in eight and 28 bits. An odd factor permutes the words of 36 bits: no two pairs have the same name.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the bits that are wanted")]
pub(crate) const fn name(pair: u64) -> (u8, u32) {
    let name = pair.wrapping_mul(0x0000_0009_e377_9b97);
    ((name >> 28) as u8, name as u32 & 0xfff_ffff)
}

/// Where its bucket's pilot sends a scrambled pair.
#[inline]
pub(crate) const fn slot(scrambled: u64, pilot: u16, slots: u32) -> usize {
    let turned = scrambled ^ (pilot as u64).wrapping_mul(0x0000_a0b4_28db_1c3f);
    reduce(turned.wrapping_mul(0xd6e8_feb8_6659_fd93), slots)
}

/// The high half of `word`, scaled to below `bound`.
#[inline]
#[allow(
    clippy::cast_possible_truncation,
    reason = "below 2^32, as is a usize of wasm32"
)]
const fn reduce(word: u64, bound: u32) -> usize {
    (((word >> 32) * bound as u64) >> 32) as usize
}
