//! From tokens as byte strings to merges as pairs of tokens.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use tiktoken_rs::CoreBPE;

/// Tokens of a single byte: the first ids.
pub(crate) const BYTES: usize = 256;

/// The bytes of every token, by id; ids without a gap from 0 on, special tokens left out.
pub(crate) fn tokens(bpe: &CoreBPE) -> Vec<Vec<u8>> {
    let tokens: Vec<Vec<u8>> = (0..).map_while(|id| bpe.decode_bytes(&[id]).ok()).collect();
    assert!(
        tokens[..BYTES].iter().all(|token| token.len() == 1),
        "the first {BYTES} tokens are the bytes"
    );
    tokens
}

/// The two tokens whose merge makes each token, by id (`None` for bytes).
///
/// Byte pair encoding of a token's own bytes ends with one last merge. It is the only merge that ever makes the token in
/// any text: as long as nothing has merged across the token's ends, its inside has been through the same states as alone.
/// So a table of pairs knows what the reference asks a table of byte strings.
pub(crate) fn derivations(tokens: &[Vec<u8>]) -> Vec<Option<(u32, u32)>> {
    let mut alone = [0u32; BYTES];
    for (id, token) in (0..).zip(&tokens[..BYTES]) {
        alone[usize::from(token[0])] = id;
    }
    let mut merges = Merges::default();
    let mut found = vec![None; BYTES];
    for (id, token) in (0..).zip(tokens).skip(BYTES) {
        let parts = token.iter().map(|byte| alone[usize::from(*byte)]).collect();
        let [left, right] = last_two(parts, &merges);
        merges.insert(left << 18 | right, id);
        found.push(Some((left as u32, right as u32)));
    }
    found
}

type Merges = HashMap<u64, u32, BuildHasherDefault<Multiply>>;

/// The two parts before the last merge. All merges so far are of lower ids, as those of any part of a token must be.
fn last_two(parts: Vec<u32>, merges: &Merges) -> [u64; 2] {
    let mut parts: Vec<u64> = parts.into_iter().map(u64::from).collect();
    while parts.len() > 2 {
        let ranks = parts.windows(2).enumerate();
        let merge =
            |(at, pair): (usize, &[u64])| merges.get(&(pair[0] << 18 | pair[1])).map(|rank| (*rank, at));
        let (rank, at) = ranks
            .filter_map(merge)
            .min()
            .expect("each token comes out of merges");
        parts[at] = u64::from(rank);
        parts.remove(at + 1);
    }
    [parts[0], parts[1]]
}

/// A hash of one word: quick also when it isn't optimized.
#[derive(Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are words")
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
