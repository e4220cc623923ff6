//! Byte pair encoding of one pretoken: of all neighbours that merge, the pair of the lowest rank does, the leftmost of
//! equals, until none does. Only the number of tokens left is asked for.
//!
//! A pretoken is a list of nodes in fixed arrays. Each node keeps what it and the next would merge to as a key that orders
//! by rank, then place; sixteen keys make a group, which keeps its least. A merge changes three keys: it costs two questions
//! to the table and a few comparisons, however long the list is.
//!
//! # Why characters may be merged first
//!
//! A character beyond ASCII is several bytes, and most are one token. Its bytes merge at ranks up to its own. A merge across
//! its edge before that would involve a part of it; if each such merge of the edge's two bytes has a higher rank
//! ([`Pairs::crossing`]), none comes before the character is whole. Then it can be a node from the beginning.
//!
//! # Why long pretokens can be cut
//!
//! Tokens are the encoding of a text if and only if each two neighbours are the encoding of the two together. (Take the first
//! merge across a place between two of them: up to there each has been through the same states as with this neighbour
//! alone, where the same merge would have come.) So a pretoken of any length is encoded in windows. A window begins
//! at a place between two tokens of the last, well before its end, and its first token must be the one that the last
//! window has there: then those two neighbours were neighbours in an encoding, and the tokens up to the place and those
//! from it on are the encoding of both. If it isn't that token, an earlier place is tried.
//! Only if none of [`PLACES`] agrees is a cut made that isn't proved; those are counted, and no text is known that has one.

use super::{Budget, Spent};
use spillway_ranks::{Pairs, Token};

/// Nodes of a window: what is longer is encoded window by window.
const NODES: usize = 256;
const GROUP: usize = 16;
/// Nodes at a window's end whose tokens aren't believed, as what follows may change them.
const MARGIN: usize = 48;
/// How many places for the next window to begin at are kept, in case the last one proves wrong.
const PLACES: usize = 4;
const NONE: u64 = u64::MAX;
const NOWHERE: u16 = u16::MAX;

/// The lists that merging works on.
#[derive(Debug)]
pub(super) struct Merger {
    tokens: [Token; NODES],
    /// What a node and the next merge to, and the node's index below that; or [`NONE`].
    keys: [u64; NODES],
    /// The least key of each group.
    least: [u64; NODES / GROUP],
    next: [u16; NODES],
    before: [u16; NODES],
    /// Offsets of the nodes in the piece, ascending.
    starts: [u16; NODES + 1],
    length: usize,
    unproved: u64,
}

/// Where a window may begin.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Its offset in the piece.
    at: usize,
    /// The tokens between the last window's beginning and here.
    tokens: u64,
    /// Bytes of the token that the last window has here.
    token: usize,
}

/// The places that are left to try, the best last.
#[derive(Debug, Default)]
struct Places {
    places: [Place; PLACES],
    left: usize,
}

impl Places {
    fn push(&mut self, place: Place) {
        if self.left == PLACES {
            self.places.rotate_left(1);
            self.left -= 1;
        }
        if let Some(free) = self.places.get_mut(self.left) {
            *free = place;
            self.left += 1;
        }
    }

    fn pop(&mut self) -> Option<Place> {
        self.left = self.left.checked_sub(1)?;
        self.places.get(self.left).copied()
    }
}

impl Merger {
    pub(super) fn new() -> Self {
        Self {
            tokens: [Token::from_bits(0); NODES],
            keys: [NONE; NODES],
            least: [NONE; NODES / GROUP],
            next: [NOWHERE; NODES],
            before: [NOWHERE; NODES],
            starts: [0; NODES + 1],
            length: 0,
            unproved: 0,
        }
    }

    pub(super) fn unproved_cuts(&self) -> u64 {
        self.unproved
    }

    /// The tokens of a piece of at most [`NODES`] - 4 bytes.
    pub(super) fn short(&mut self, pairs: &Pairs, piece: &[u8]) -> u64 {
        self.load(pairs, piece);
        self.merge(pairs)
    }

    /// Spends the tokens of a piece of any length.
    pub(super) fn count(&mut self, pairs: &Pairs, piece: &[u8], budget: &mut Budget) -> Result<(), Spent> {
        let mut from = Place::default();
        let mut earlier = Places::default();
        loop {
            let window = piece.get(from.at..).unwrap_or_default();
            let used = self.load(pairs, window);
            let tokens = self.merge(pairs);
            if from.at > 0 && self.first_token() != from.token {
                match earlier.pop() {
                    Some(place) => {
                        from = place;
                        continue;
                    }
                    None => self.unproved += 1,
                }
            }
            budget.spend(from.tokens)?;
            if used == window.len() {
                return budget.spend(tokens);
            }
            earlier = self.places(from.at);
            from = earlier.pop().unwrap_or(Place {
                at: from.at + used,
                tokens,
                token: 0,
            });
        }
    }

    /// Makes nodes of what `piece` begins with, as many as there is room for; answers the bytes they have.
    fn load(&mut self, pairs: &Pairs, piece: &[u8]) -> usize {
        let mut nodes = Nodes {
            merger: self,
            length: 0,
        };
        let mut at = 0;
        while let Some(&byte) = piece.get(at)
            && nodes.length <= NODES - 4
        {
            let length = if byte < 0x80 {
                1
            } else {
                nodes.character(pairs, piece, at)
            };
            if length == 1 {
                nodes.push(pairs.byte(byte), at);
            }
            at += length;
        }
        self.length = nodes.length;
        self.link(pairs, at);
        at
    }

    /// Links the nodes, and asks what neighbours merge to.
    fn link(&mut self, pairs: &Pairs, bytes: usize) {
        if let Some(end) = self.starts.get_mut(self.length) {
            *end = u16::try_from(bytes).unwrap_or(u16::MAX);
        }
        let tokens = self.tokens.get(..self.length).unwrap_or_default();
        let mut index = 0;
        for (pair, (key, (next, before))) in tokens.windows(2).zip(
            self.keys
                .iter_mut()
                .zip(self.next.iter_mut().zip(self.before.iter_mut())),
        ) {
            if let [left, right] = pair {
                *key = key_of(pairs.merged(*left, *right), index);
            }
            *before = index.wrapping_sub(1);
            index += 1;
            *next = index;
        }
        let last = usize::from(index);
        if let (Some(next), Some(before)) = (self.next.get_mut(last), self.before.get_mut(last)) {
            *next = NOWHERE;
            *before = index.wrapping_sub(1);
        }
        let end = self.length.next_multiple_of(GROUP);
        self.keys.get_mut(last..end).unwrap_or_default().fill(NONE);
        for group in 0..end / GROUP {
            self.refresh(group);
        }
    }

    /// Merges until nothing is left to merge; answers how many tokens there are.
    fn merge(&mut self, pairs: &Pairs) -> u64 {
        let groups = self.length.div_ceil(GROUP);
        let mut merges = 0;
        loop {
            let groups = self.least.get(..groups).unwrap_or_default();
            let least = groups.iter().copied().fold(NONE, u64::min);
            if least == NONE {
                let tokens = self.length.saturating_sub(merges);
                return u64::try_from(tokens).unwrap_or(u64::MAX);
            }
            merges += 1;
            self.apply(pairs, least);
        }
    }

    /// Merges the node that `key` is of with the next.
    #[inline]
    fn apply(&mut self, pairs: &Pairs, key: u64) {
        let (token, node) = parts_of(key);
        let right = self.next_of(node);
        let after = self.next_of(right);
        let before = self.before_of(node);
        set(&mut self.tokens, node, token);
        set(&mut self.next, node, after);
        set(&mut self.keys, right, NONE);
        let mut ahead = NONE;
        if let Some(&next) = self.tokens.get(usize::from(after)) {
            set(&mut self.before, after, node);
            ahead = key_of(pairs.merged(token, next), node);
        }
        set(&mut self.keys, node, ahead);
        let group = usize::from(node) / GROUP;
        if let Some(&previous) = self.tokens.get(usize::from(before)) {
            set(
                &mut self.keys,
                before,
                key_of(pairs.merged(previous, token), before),
            );
            if usize::from(before) / GROUP != group {
                self.refresh(usize::from(before) / GROUP);
            }
        }
        if usize::from(right) / GROUP != group {
            self.refresh(usize::from(right) / GROUP);
        }
        self.refresh(group);
    }

    /// Finds the least key of a group.
    #[inline]
    fn refresh(&mut self, group: usize) {
        let (groups, _) = self.keys.as_chunks::<GROUP>();
        if let (Some(keys), Some(least)) = (groups.get(group), self.least.get_mut(group)) {
            *least = keys.iter().copied().fold(NONE, u64::min);
        }
    }

    #[inline]
    fn next_of(&self, node: u16) -> u16 {
        self.next.get(usize::from(node)).copied().unwrap_or(NOWHERE)
    }

    #[inline]
    fn before_of(&self, node: u16) -> u16 {
        self.before.get(usize::from(node)).copied().unwrap_or(NOWHERE)
    }

    /// The offset of a node in the piece; of no node, the end.
    fn start(&self, node: u16) -> usize {
        let at = usize::from(node).min(self.length);
        self.starts.get(at).copied().map_or(0, usize::from)
    }

    /// The bytes of the first token.
    fn first_token(&self) -> usize {
        self.start(self.next_of(0))
    }

    /// Places for the next window, when this one began at `from`.
    fn places(&self, from: usize) -> Places {
        let mut places = Places::default();
        let bound = self.length.saturating_sub(MARGIN);
        let mut node = self.next_of(0);
        let mut tokens = 1;
        while usize::from(node) <= bound {
            let next = self.next_of(node);
            places.push(Place {
                at: from + self.start(node),
                tokens,
                token: self.start(next) - self.start(node),
            });
            tokens += 1;
            node = next;
        }
        places
    }
}

/// Nodes being loaded.
struct Nodes<'m> {
    merger: &'m mut Merger,
    length: usize,
}

impl Nodes<'_> {
    #[inline]
    fn push(&mut self, token: Token, at: usize) {
        let merger = &mut *self.merger;
        if let (Some(node), Some(start)) = (
            merger.tokens.get_mut(self.length),
            merger.starts.get_mut(self.length),
        ) {
            *node = token;
            *start = u16::try_from(at).unwrap_or(u16::MAX);
            self.length += 1;
        }
    }

    /// Pushes the character beyond ASCII at `at`, if it may be a node; answers its bytes then, else 1.
    #[inline]
    fn character(&mut self, pairs: &Pairs, piece: &[u8], at: usize) -> usize {
        let rest = piece.get(at..).unwrap_or_default();
        let Some((token, length)) = whole(pairs, rest) else {
            return 1;
        };
        let before = at.checked_sub(1).and_then(|before| piece.get(before));
        let last = rest.get(length - 1);
        let bound = edge(pairs, before, rest.first()).min(edge(pairs, last, rest.get(length)));
        if token.rank() >= bound {
            return 1;
        }
        self.push(token, at);
        length
    }
}

/// The least rank of a merge across the edge of a character, between these bytes, that involves a part of a character.
#[inline]
fn edge(pairs: &Pairs, last: Option<&u8>, first: Option<&u8>) -> u32 {
    match (last, first) {
        (Some(0..0x80), _) | (_, Some(0..0x80)) => 0,
        (Some(last), Some(first)) => pairs.crossing(*last, *first),
        (None, _) | (_, None) => u32::MAX,
    }
}

/// The token of the character that `rest` begins with, if it is one, and its bytes.
#[inline]
fn whole(pairs: &Pairs, rest: &[u8]) -> Option<(Token, usize)> {
    let byte = |byte: u8| pairs.byte(byte);
    match *rest {
        [a @ 0xc0..0xe0, b, ..] => Some((pairs.merged(byte(a), byte(b))?, 2)),
        [a @ 0xe0..0xf0, b, c, ..] => {
            let first = pairs
                .merged(byte(a), byte(b))
                .and_then(|two| pairs.merged(two, byte(c)));
            let last = || pairs.merged(byte(a), pairs.merged(byte(b), byte(c))?);
            Some((first.or_else(last)?, 3))
        }
        _ => None,
    }
}

/// The index of a node is in the low byte.
#[inline]
fn key_of(merged: Option<Token>, node: u16) -> u64 {
    merged.map_or(NONE, |token| u64::from(token.bits()) << 8 | u64::from(node))
}

#[inline]
fn parts_of(key: u64) -> (Token, u16) {
    let [node, bits @ ..] = key.to_le_bytes();
    let [a, b, c, d, ..] = bits;
    (
        Token::from_bits(u32::from_le_bytes([a, b, c, d])),
        u16::from(node),
    )
}

#[inline]
fn set<T>(list: &mut [T], node: u16, value: T) {
    if let Some(place) = list.get_mut(usize::from(node)) {
        *place = value;
    }
}
