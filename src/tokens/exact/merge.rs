//! Byte pair encoding of one pretoken: of all neighbours that merge, the pair of the lowest rank does, the leftmost of
//! equals, until none does. Only the number of tokens left is asked for.
//!
//! A pretoken is a list of nodes in fixed arrays. Each node keeps what it and the next would merge to as a key that orders
//! by rank, then place; sixteen keys make a group, which keeps its least. A merge changes three keys: it costs two questions
//! to the table and a few comparisons, however long the list is. [`load`](super::load) makes the nodes, and
//! [`long`](super::long) cuts what is too long for the arrays.

use super::load::Loader;
use spillway_ranks::{Pairs, Token};

/// Nodes in a list: any two tokens, in bytes, and some more.
pub(super) const NODES: usize = 272;
const GROUP: usize = 16;
/// Stands before the first node and after the last; it never merges.
const EDGE: u16 = 272;
const _: () = assert!(EDGE as usize == NODES);
const ROOM: usize = NODES + GROUP;
/// Keys from here on are of pairs that don't merge.
const NONE: u64 = key(Token::NONE, 0);

/// The lists that merging works on.
#[derive(Debug)]
pub(super) struct Merger {
    tokens: [Token; NODES + 1],
    /// What a node and the next merge to, and the node's index below that.
    keys: [u64; ROOM],
    /// The least key of each group.
    least: [u64; ROOM / GROUP],
    next: [u16; NODES + 1],
    before: [u16; NODES + 1],
    /// Offsets of the nodes in the piece, ascending, and its end.
    starts: [u16; NODES + 1],
    length: usize,
}

impl Merger {
    pub(super) fn new() -> Self {
        Self {
            tokens: [Token::NONE; NODES + 1],
            keys: [NONE; ROOM],
            least: [NONE; ROOM / GROUP],
            next: [EDGE; NODES + 1],
            before: [EDGE; NODES + 1],
            starts: [0; NODES + 1],
            length: 0,
        }
    }

    /// Encodes what `piece` begins with, as much as there is room for; answers the bytes that has. At least
    /// [`NODES`] - 4 are read.
    pub(super) fn encode(&mut self, pairs: &Pairs, piece: &[u8]) -> Encoded {
        let mut loader = Loader::new(&mut self.tokens, &mut self.starts);
        let bytes = loader.load(pairs, piece);
        self.length = loader.length();
        set(&mut self.tokens, self.length, Token::NONE);
        self.link(pairs);
        Encoded {
            bytes,
            tokens: self.merge(pairs),
        }
    }

    /// The tokens of the list, in order: how many bytes each has.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        let start = |node: u16| get(&self.starts, usize::from(node).min(self.length)).map_or(0, usize::from);
        let mut node = if self.length == 0 { EDGE } else { 0 };
        std::iter::from_fn(move || {
            let next = get(&self.next, node).filter(|_| node != EDGE)?;
            let length = start(next) - start(node);
            node = next;
            Some(length)
        })
    }

    /// Links the nodes, and asks what neighbours merge to.
    fn link(&mut self, pairs: &Pairs) {
        let tokens = self.tokens.get(..=self.length).unwrap_or_default();
        let links = self.next.iter_mut().zip(self.before.iter_mut());
        let mut index = 0;
        for (pair, (key_of, (next, before))) in tokens.windows(2).zip(self.keys.iter_mut().zip(links)) {
            if let [left, right] = pair {
                *key_of = key(pairs.merged(*left, *right), index);
            }
            *before = index.wrapping_sub(1).min(EDGE);
            index += 1;
            *next = index;
        }
        if let Some(last) = self.length.checked_sub(1) {
            set(&mut self.next, last, EDGE);
        }
        let groups = self.length.div_ceil(GROUP);
        let end = self.keys.get_mut(self.length..groups * GROUP);
        end.unwrap_or_default().fill(NONE);
        for group in 0..groups {
            self.refresh(group);
        }
    }

    /// Merges until nothing is left to merge; answers how many tokens there are.
    fn merge(&mut self, pairs: &Pairs) -> u64 {
        let groups = self.length.div_ceil(GROUP);
        let mut tokens = u64::try_from(self.length).unwrap_or(u64::MAX);
        loop {
            let least = self.least.get(..groups).unwrap_or_default();
            let least = least.iter().copied().fold(NONE, u64::min);
            if least >= NONE {
                return tokens;
            }
            tokens -= 1;
            self.apply(pairs, least);
        }
    }

    /// Merges the node that `key_of_it` is of with the next.
    #[inline]
    fn apply(&mut self, pairs: &Pairs, key_of_it: u64) {
        let (token, node) = parts(key_of_it);
        let right = get(&self.next, node).unwrap_or(EDGE);
        let after = get(&self.next, right).unwrap_or(EDGE);
        let before = get(&self.before, node).unwrap_or(EDGE);
        let ahead = pairs.more(token, self.token(after));
        let behind = pairs.more(self.token(before), token);
        set(&mut self.tokens, node, token);
        set(&mut self.next, node, after);
        set(&mut self.before, after, node);
        set(&mut self.keys, right, NONE);
        set(&mut self.keys, node, key(ahead, node));
        set(&mut self.keys, before, key(behind, before));
        let group = usize::from(node) / GROUP;
        for other in [before, right].map(|other| usize::from(other) / GROUP) {
            if other != group {
                self.refresh(other);
            }
        }
        self.refresh(group);
    }

    /// Finds the least key of a group.
    #[inline]
    fn refresh(&mut self, group: usize) {
        let (groups, _) = self.keys.as_chunks::<GROUP>();
        if let (Some(keys), Some(least)) = (groups.get(group), self.least.get_mut(group)) {
            *least = least_of(keys);
        }
    }

    #[inline]
    fn token(&self, node: u16) -> Token {
        get(&self.tokens, node).unwrap_or(Token::NONE)
    }
}

/// What was encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded {
    /// Bytes of it.
    pub(super) bytes: usize,
    /// Tokens of these.
    pub(super) tokens: u64,
}

/// Four chains of comparisons, so that they needn't wait for each other.
#[inline]
fn least_of(keys: &[u64; GROUP]) -> u64 {
    let mut least = [NONE; 4];
    for four in keys.as_chunks::<4>().0 {
        for (least, key) in least.iter_mut().zip(four) {
            *least = (*key).min(*least);
        }
    }
    let [a, b, c, d] = least;
    a.min(b).min(c.min(d))
}

/// Orders by rank, then place.
#[inline]
const fn key(merged: Token, node: u16) -> u64 {
    (merged.bits() as u64) << 16 | node as u64
}

#[inline]
fn parts(key: u64) -> (Token, u16) {
    let [a, b, c, d, e, f, ..] = key.to_le_bytes();
    (
        Token::from_bits(u32::from_le_bytes([c, d, e, f])),
        u16::from_le_bytes([a, b]),
    )
}

#[inline]
fn get<T: Copy>(list: &[T], node: impl Into<usize>) -> Option<T> {
    list.get(node.into()).copied()
}

#[inline]
fn set<T>(list: &mut [T], node: impl Into<usize>, value: T) {
    if let Some(place) = list.get_mut(node.into()) {
        *place = value;
    }
}
