//! Pretokens of any length, in windows of a fixed number of nodes, and yet exact.
//!
//! Tokens are the encoding of a text if and only if each two neighbours are the encoding of those two's bytes. (Take the first
//! merge across a place between two of them: up to there both sides have been through the same states as if these two
//! were alone, so it would have come then, too.) A window therefore begins at a place between two tokens of the last, well
//! before its end, and the tokens up to there and those from there on are the encoding of both if the two that meet are
//! neighbours in some encoding: in the last window's, if that has the same token there; or in that of their own bytes.
//!
//! Otherwise what follows reaches back over the place, and an earlier one is tried. If all of [`PLACES`] fail, the cut stays,
//! unproved, and is counted. No text is known that has one: ranks would have to fall from pair to pair over dozens of tokens.
//!
//! A window with the same bytes as the last, cut at a proved place, has the same tokens: runs of one character or of a
//! period cost no more than a comparison.

use super::merge::{Encoded, Merger};
use super::{Budget, Spent};
use spillway_ranks::Pairs;

/// Tokens at a window's end that aren't believed, as what follows may change them.
const MARGIN: u64 = 8;
/// How many places for the next window to begin at are kept, in case the last one proves wrong.
const PLACES: usize = 4;

/// Encodes pretokens.
#[derive(Debug)]
pub(super) struct Windows {
    merger: Merger,
    unproved: u64,
}

/// What a window holds.
#[derive(Clone, Copy, Debug)]
struct Window {
    encoded: Encoded,
    /// Bytes of its first token.
    first: usize,
    places: Places,
}

/// A place between two tokens of a window.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Its offset in the window.
    at: usize,
    /// Tokens of the window up to here.
    tokens: u64,
    /// Bytes of the token before it.
    before: usize,
    /// Bytes of the token after it.
    after: usize,
}

/// The places to begin the next window at, the best last.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    places: [Place; PLACES],
    left: usize,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            merger: Merger::new(),
            unproved: 0,
        }
    }

    pub(super) fn unproved_cuts(&self) -> u64 {
        self.unproved
    }

    /// The tokens of a short piece, which fits into a window.
    #[inline]
    pub(super) fn short(&mut self, pairs: &Pairs, piece: &[u8]) -> u64 {
        self.merger.encode(pairs, piece).tokens
    }

    /// Spends the tokens of a piece of any length.
    pub(super) fn count(&mut self, pairs: &Pairs, piece: &[u8], budget: &mut Budget) -> Result<(), Spent> {
        let mut rest = piece;
        let mut window = self.window(pairs, rest);
        while window.encoded.bytes < rest.len() {
            let (place, next) = self.cut(pairs, rest, &window);
            let same = rest.get(..window.encoded.bytes).unwrap_or_default();
            window = next;
            let mut repeated = false;
            let before = loop {
                budget.spend(place.tokens)?;
                let before = rest;
                rest = rest.get(place.at..).unwrap_or_default();
                if rest.len() <= same.len() || !rest.starts_with(same) {
                    break before;
                }
                repeated = true;
            };
            if repeated {
                window = self.window(pairs, rest);
                let proved = window.first == place.after || self.meet(pairs, before, place, window.first);
                self.unproved += u64::from(!proved);
            }
        }
        budget.spend(window.encoded.tokens)
    }

    fn window(&mut self, pairs: &Pairs, rest: &[u8]) -> Window {
        let encoded = self.merger.encode(pairs, rest);
        let mut places = Places::default();
        if encoded.bytes < rest.len() {
            places.fill(self.merger.lengths(), encoded.tokens);
        }
        Window {
            encoded,
            first: self.merger.lengths().next().unwrap_or(0),
            places,
        }
    }

    /// Where `window`, which `rest` begins with, may be cut; and the window from there on.
    fn cut(&mut self, pairs: &Pairs, rest: &[u8], window: &Window) -> (Place, Window) {
        let mut places = window.places;
        loop {
            let place = places.pop().unwrap_or(Place {
                at: window.encoded.bytes,
                tokens: window.encoded.tokens,
                ..Place::default()
            });
            let next = self.window(pairs, rest.get(place.at..).unwrap_or_default());
            if next.first == place.after || self.meet(pairs, rest, place, next.first) {
                return (place, next);
            }
            if places.left == 0 {
                self.unproved += 1;
                return (place, next);
            }
        }
    }

    /// Whether the token before the place and `after` bytes from it on are the encoding of their own bytes.
    fn meet(&mut self, pairs: &Pairs, rest: &[u8], place: Place, after: usize) -> bool {
        let both = place.at.saturating_sub(place.before)..place.at + after;
        let encoded = self.merger.encode(pairs, rest.get(both).unwrap_or_default());
        encoded.tokens == 2 && self.merger.lengths().next() == Some(place.before)
    }
}

impl Places {
    /// Keeps the last places that [`MARGIN`] of the window's tokens come after, or else the first.
    fn fill(&mut self, lengths: impl Iterator<Item = usize>, tokens: u64) {
        let bound = tokens.saturating_sub(MARGIN).max(1);
        let mut place = Place::default();
        for length in lengths {
            place.after = length;
            if place.tokens > 0 && place.tokens + PLACES as u64 > bound {
                self.push(place);
            }
            if place.tokens >= bound {
                return;
            }
            place.at += length;
            place.tokens += 1;
            place.before = length;
        }
    }

    fn push(&mut self, place: Place) {
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
