//! The nodes that byte pair encoding begins with: bytes, or more where it is sure to come to that.
//!
//! Byte pair encoding of a character alone (beyond ASCII: it is several bytes) makes tokens of some greatest rank. In a
//! text, a merge across the character's edge before that would take only a part of it; if every such merge of the bytes at
//! its edges is of a higher rank ([`Pairs::into_part`], [`Pairs::out_of_part`]), the character is encoded as if alone first. Then
//! the tokens of that may be nodes from the beginning. Half of all merges of Chinese or Hindi are done so, without any list.

use super::merge::NODES;
use spillway_ranks::{Pairs, Token};

/// Writes nodes.
pub(super) struct Loader<'m> {
    tokens: &'m mut [Token; NODES + 1],
    starts: &'m mut [u16; NODES + 1],
    length: usize,
}

/// The most bytes of a character, so also the most nodes.
const LONGEST: usize = 4;

impl<'m> Loader<'m> {
    pub(super) fn new(tokens: &'m mut [Token; NODES + 1], starts: &'m mut [u16; NODES + 1]) -> Self {
        Self {
            tokens,
            starts,
            length: 0,
        }
    }

    /// The nodes that were written.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Makes nodes of what `piece` begins with; answers the bytes that has, which is also the last start.
    pub(super) fn load(&mut self, pairs: &Pairs, piece: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&byte) = piece.get(at)
            && self.length <= NODES - LONGEST
        {
            if byte < 0x80 {
                self.push(pairs.byte(byte), at);
                at += 1;
            } else {
                at = self.character(pairs, piece, at);
            }
        }
        if let Some(end) = self.starts.get_mut(self.length) {
            *end = u16::try_from(at).unwrap_or(u16::MAX);
        }
        at
    }

    #[inline]
    fn push(&mut self, token: Token, at: usize) {
        if let (Some(node), Some(start)) =
            (self.tokens.get_mut(self.length), self.starts.get_mut(self.length))
        {
            *node = token;
            *start = u16::try_from(at).unwrap_or(u16::MAX);
            self.length += 1;
        }
    }

    /// Pushes the character beyond ASCII at `at`; answers where the next begins.
    #[inline]
    fn character(&mut self, pairs: &Pairs, piece: &[u8], at: usize) -> usize {
        let rest = piece.get(at..).unwrap_or_default();
        let alone = Alone::of(pairs, rest);
        let before = at.checked_sub(1).and_then(|before| piece.get(before));
        if alone.rank >= least_across(pairs, before, rest, alone.bytes) {
            for (index, byte) in rest.iter().take(alone.bytes).enumerate() {
                self.push(pairs.byte(*byte), at + index);
            }
            return at + alone.bytes;
        }
        let mut start = at;
        for (token, bytes) in alone.parts.into_iter().take_while(|(_, bytes)| *bytes > 0) {
            self.push(token, start);
            start += bytes;
        }
        start
    }
}

/// The least rank of a merge across an edge of the character of `bytes` that `rest` begins with, which takes only a part of it.
#[inline]
fn least_across(pairs: &Pairs, before: Option<&u8>, rest: &[u8], bytes: usize) -> u32 {
    let begin = match (before, rest.first()) {
        (Some(0x80..), Some(first)) => before.map_or(0, |before| pairs.into_part(*before, *first)),
        (Some(_), _) => 0,
        (None, _) => u32::MAX,
    };
    let end = match (rest.get(bytes - 1), rest.get(bytes)) {
        (Some(last), Some(next @ 0x80..)) => pairs.out_of_part(*last, *next),
        (_, Some(_)) => 0,
        (_, None) => u32::MAX,
    };
    begin.min(end)
}

/// A character encoded alone, or its bytes where that isn't worked out here.
struct Alone {
    /// Tokens, and the bytes that each has; no bytes after the last.
    parts: [(Token, usize); LONGEST],
    /// Their greatest rank.
    rank: u32,
    /// Bytes of the character.
    bytes: usize,
}

const NO_PART: (Token, usize) = (Token::NONE, 0);

impl Alone {
    #[inline]
    fn of(pairs: &Pairs, rest: &[u8]) -> Self {
        match *rest {
            [a @ 0xc0..0xe0, b, ..] => Self::of_two(pairs, pairs.byte(a), pairs.byte(b)),
            [a @ 0xe0..0xf0, b, c, ..] => Self::of_three(pairs, [a, b, c].map(|byte| pairs.byte(byte))),
            [a @ 0xf0..=0xff, b, c, d, ..] => Self::of_four(pairs, [a, b, c, d].map(|byte| pairs.byte(byte))),
            [byte, ..] => Self::new([(pairs.byte(byte), 1), NO_PART, NO_PART, NO_PART]),
            [] => Self::new([NO_PART; LONGEST]),
        }
    }

    #[inline]
    fn new(parts: [(Token, usize); LONGEST]) -> Self {
        let ranks = parts
            .iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(token, _)| token.rank());
        Self {
            rank: ranks.fold(0, u32::max),
            bytes: parts.iter().map(|(_, bytes)| bytes).sum(),
            parts,
        }
    }

    #[inline]
    fn of_two(pairs: &Pairs, a: Token, b: Token) -> Self {
        let ab = pairs.two(a, b);
        if ab < Token::NONE {
            Self::new([(ab, 2), NO_PART, NO_PART, NO_PART])
        } else {
            Self::new([(a, 1), (b, 1), NO_PART, NO_PART])
        }
    }

    #[inline]
    fn of_three(pairs: &Pairs, [a, b, c]: [Token; 3]) -> Self {
        let (ab, bc) = (pairs.two(a, b), pairs.two(b, c));
        let (abc, parted) = if ab < bc {
            (pairs.more(ab, c), [(ab, 2), (c, 1)])
        } else if bc < Token::NONE {
            (pairs.more(a, bc), [(a, 1), (bc, 2)])
        } else {
            return Self::new([(a, 1), (b, 1), (c, 1), NO_PART]);
        };
        if abc < Token::NONE {
            return Self::new([(abc, 3), NO_PART, NO_PART, NO_PART]);
        }
        let [first, second] = parted;
        Self::new([first, second, NO_PART, NO_PART])
    }

    /// The usual way only: the first two bytes merge, as all emoji's do, and the middle two don't.
    #[inline]
    fn of_four(pairs: &Pairs, [a, b, c, d]: [Token; 4]) -> Self {
        let (ab, bc, cd) = (pairs.two(a, b), pairs.two(b, c), pairs.two(c, d));
        if ab >= bc || bc < cd {
            return Self {
                rank: u32::MAX,
                ..Self::new([(a, 1), (b, 1), (c, 1), (d, 1)])
            };
        }
        let abc = pairs.more(ab, c);
        if cd < abc {
            let abcd = pairs.more(ab, cd);
            return match abcd < Token::NONE {
                true => Self::new([(abcd, 4), NO_PART, NO_PART, NO_PART]),
                false => Self::new([(ab, 2), (cd, 2), NO_PART, NO_PART]),
            };
        }
        if abc >= Token::NONE {
            return Self::new([(ab, 2), (c, 1), (d, 1), NO_PART]);
        }
        let abcd = pairs.more(abc, d);
        match abcd < Token::NONE {
            true => Self::new([(abcd, 4), NO_PART, NO_PART, NO_PART]),
            false => Self::new([(abc, 3), (d, 1), NO_PART, NO_PART]),
        }
    }
}
