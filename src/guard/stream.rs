//! Masking a text that arrives in pieces.
//!
//! The invariants: what goes out in the end is what [`Watch::mask`] makes of the whole text, however it was cut; and
//! what is kept back is never more than 256 bytes of it (a key or token that is being masked has no such end, but of
//! it nothing goes out anyway; it is numbered by its beginning, so that two which begin alike may bear one number).

use super::breaks;
use super::escape::{self, Cursor};
use super::placeholder;
use super::scan::{Found, What};
use super::tail::Tail;
use super::text::Text;
use super::watch::{Change, Floors, Plan, Watch};
use super::written::{Way, Written};

/// Kept back at most, with room for the rest of a character.
const HOLD: usize = 252;
/// Text in sight, at most, beyond the newest piece.
const WINDOW: usize = 1_024;
/// Kept in sight before what isn't judged yet: what a look back may need.
const BEHIND: usize = 128;

const _: () = assert!(placeholder::LONGEST < HOLD && super::own::LONGEST < HOLD && BEHIND + HOLD < WINDOW);

/// One text of a stream: one choice, one part, one tool call's arguments.
#[derive(Clone, Debug, Default)]
pub struct StreamGuard {
    /// The text in sight: what was let go lately, and what wasn't.
    text: Vec<u8>,
    /// The content of what wasn't let go, as it came.
    raw: Vec<u8>,
    /// Half of a surrogate pair, whose other half may come.
    half: Vec<u8>,
    /// How much of the text was let go or replaced.
    sent: usize,
    /// Matches that begin before this are judged.
    judged: usize,
    /// The last place that no match reaches over.
    safe: usize,
    /// Where the search of the shapes goes on, and that of each rule's patterns.
    next: Vec<usize>,
    floors: Floors,
    /// What still comes of a match that was replaced already.
    tail: Tail,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Comes,
    Ends,
}

impl StreamGuard {
    /// At the beginning of a text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At the beginning of a text that is written as this.
    #[must_use]
    pub fn of(written: Written) -> Self {
        Self {
            way: Way::of(written),
            ..Self::default()
        }
    }

    /// Takes the next piece, the content of a JSON string; answers what goes on in its place, escaped the same way.
    /// Nothing goes on once the watch has blocked the exchange.
    pub fn push(&mut self, plan: &Plan, watch: &mut Watch, piece: &[u8]) -> Vec<u8> {
        let mut raw = core::mem::take(&mut self.half);
        raw.extend_from_slice(piece);
        let half = raw.len() - escape::half_pair(&raw);
        self.half = raw.split_off(half);
        self.take(&raw);
        self.advance(plan, watch, More::Comes)
    }

    /// The text has ended: answers what was kept back.
    pub fn finish(&mut self, plan: &Plan, watch: &mut Watch) -> Vec<u8> {
        let half = core::mem::take(&mut self.half);
        self.take(&half);
        self.advance(plan, watch, More::Ends)
    }

    /// How many bytes of the text are kept back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.text.len() - self.sent
    }

    /// How many bytes of the text are in sight, sent ones included.
    #[cfg(test)]
    pub(super) fn in_sight(&self) -> usize {
        self.text.len()
    }

    fn take(&mut self, raw: &[u8]) {
        let from = self.text.len();
        escape::decode(raw, &mut self.text);
        self.raw.extend_from_slice(raw);
        let text = Text(&self.text);
        let newest = (from..self.text.len())
            .rev()
            .find(|place| breaks::at(text, *place));
        self.safe = newest.unwrap_or(self.safe);
    }

    fn advance(&mut self, plan: &Plan, watch: &mut Watch, more: More) -> Vec<u8> {
        if watch.blocked().is_some() {
            return self.stop();
        }
        self.swallow();
        let limit = self.limit(plan, more);
        let mut found = self.search(plan, limit);
        let changes = watch.judge(plan, &self.text, &mut found, &mut self.floors);
        if watch.blocked().is_some() {
            return self.stop();
        }
        let out = self.send(changes, limit);
        self.judged = limit;
        self.forget();
        out
    }

    /// Nothing more goes on, and nothing is kept.
    fn stop(&mut self) -> Vec<u8> {
        *self = Self::default();
        Vec::new()
    }

    /// Drops what still belongs to a match that was replaced.
    fn swallow(&mut self) {
        let more = self.tail.follow(self.text.get(self.sent..).unwrap_or_default());
        let mut cursor = Cursor::new(&self.raw, self.sent);
        cursor.take(self.sent + more);
        let taken = cursor.taken();
        self.raw.drain(..taken);
        self.pass_to(self.sent + more);
        if more > 0 {
            self.floors.changed = self.sent;
            self.next.iter_mut().take(1).for_each(|next| *next = self.sent);
        }
    }

    /// Matches that begin before this can be judged now.
    fn limit(&self, plan: &Plan, more: More) -> usize {
        let end = self.text.len();
        if more == More::Ends {
            return end;
        }
        let latest = self.safe.min(end.saturating_sub(plan.reach()));
        let limit = latest.max(end.saturating_sub(HOLD)).max(self.judged);
        let continues = |place: &usize| Text(&self.text).at(*place) & 0xc0 == 0x80;
        // A character has four bytes; of what has more, which is none, nothing is waited for.
        (self.judged..=limit)
            .rev()
            .take(4)
            .find(|place| !continues(place))
            .unwrap_or(limit)
    }

    /// What begins before the limit and isn't judged yet.
    fn search(&mut self, plan: &Plan, limit: usize) -> Vec<Found> {
        let text = Text(&self.text);
        let mut all = Vec::new();
        self.next.resize(plan.owners.len() + 1, 0);
        let mut from = self.next.iter_mut();
        let judged = self.judged;
        let mut keep = |next: &mut usize, found: Vec<Found>| {
            let due = found
                .into_iter()
                .filter(|found| found.start < limit && found.start >= judged);
            let due: Vec<Found> = due.collect();
            *next = due
                .iter()
                .map(|found| found.end)
                .max()
                .unwrap_or(0)
                .max(limit)
                .max(*next);
            all.extend(due);
        };
        if let Some(next) = from.next() {
            let mut found = Vec::new();
            plan.scanner.scan(text, *next, &mut found);
            keep(next, found);
        }
        for (rule, next) in plan.owners.iter().zip(from) {
            let Some(own) = plan.own(*rule) else { continue };
            let (mut patterns, mut words) = (Vec::new(), Vec::new());
            own.patterns(text, *next, *rule, &mut patterns);
            keep(next, patterns);
            own.words(text, judged, *rule, &mut words);
            keep(&mut 0, words);
        }
        all
    }

    /// The content up to the limit, or to the end of what is replaced, with the changes.
    fn send(&mut self, changes: Vec<Change>, limit: usize) -> Vec<u8> {
        let (mut out, mut raw) = (Vec::new(), core::mem::take(&mut self.raw));
        let mut cursor = Cursor::new(&raw, self.sent);
        for change in changes {
            out.extend_from_slice(cursor.take(change.start));
            self.pass_to(change.start);
            escape::encode(&self.way.value(change.with), &mut out);
            cursor.take(change.end);
            self.pass_to(change.end);
            let open = change.end == self.text.len() && matches!(change.found.what, What::Value(_));
            self.tail = if open { change.found.tail } else { Tail::None };
        }
        if limit > self.sent {
            out.extend_from_slice(cursor.take(limit));
            self.pass_to(limit);
        }
        let taken = cursor.taken();
        raw.drain(..taken);
        self.raw = raw;
        out
    }

    /// The text up to there was let go or replaced.
    fn pass_to(&mut self, end: usize) {
        self.way.pass(self.text.get(self.sent..end).unwrap_or_default());
        self.sent = end;
    }

    /// Lets text out of sight that nothing looks back to.
    fn forget(&mut self) {
        if self.text.len() <= WINDOW {
            return;
        }
        let gone = self.judged.min(self.sent).saturating_sub(BEHIND);
        self.text.drain(..gone);
        let places = [&mut self.sent, &mut self.judged, &mut self.safe];
        let floors = [&mut self.floors.changed, &mut self.floors.stayed];
        for place in places.into_iter().chain(floors).chain(&mut self.next) {
            *place = place.saturating_sub(gone);
        }
    }
}
