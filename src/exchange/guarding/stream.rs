//! Guarding a stream as it passes.
//!
//! Events go on whole and in their order; what is kept back of a text goes into a later event of the same text, or into
//! one of our own before the event that ends it. The invariant: what goes out doesn't depend on where the stream was
//! cut, and of each text no more than a guard keeps back is missing.

use super::event::{Closes, Event, Frame, Key, Piece};
use super::path::path;
use super::spans::Spans;
use crate::body::sse::{self, Blocks};
use crate::dialect::Endpoint;
use crate::guard::{Plan, StreamGuard, Watch};

/// Texts that go on at once: more than any provider sends.
const MOST_OPEN: usize = 512;

/// A stream of which nothing more can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Something was found that lets nothing go on: where.
    Blocked(String),
    /// It can't be looked at.
    Unguarded,
}

/// What guards look with, and what they found.
pub(super) struct Looking<'g> {
    pub(super) plan: &'g Plan,
    pub(super) watch: &'g mut Watch,
    /// Whether what can't be looked at may go on.
    pub(super) lenient: bool,
}

/// A guarded stream.
#[derive(Debug)]
pub(super) struct GuardedStream {
    endpoint: Endpoint,
    /// A larger event can't be looked at, in bytes.
    bound: usize,
    blocks: Blocks,
    /// The event that isn't complete yet.
    tail: Vec<u8>,
    /// The current event is over its bound, and goes on.
    overflowing: bool,
    open: Vec<Open>,
    /// A piece of a text has come.
    spoke: bool,
    /// Something went on that nobody looked at.
    pub(super) unguarded: bool,
    joined: Vec<u8>,
}

/// A text that goes on.
#[derive(Debug)]
struct Open {
    key: Key,
    guard: StreamGuard,
    /// What its next piece could go out in, if something is kept back.
    frame: Frame,
}

impl GuardedStream {
    /// At the beginning of a stream.
    pub(super) fn new(endpoint: Endpoint, bound: usize) -> Self {
        Self {
            endpoint,
            bound,
            blocks: Blocks::default(),
            tail: Vec::new(),
            overflowing: false,
            open: Vec::new(),
            spoke: false,
            unguarded: false,
            joined: Vec::new(),
        }
    }

    /// Takes the next chunk; appends what goes on in its place.
    ///
    /// # Errors
    /// When nothing may go on any more; what of the chunk wasn't looked at is then in [`Self::rest`].
    pub(super) fn push(
        &mut self,
        looking: &mut Looking<'_>,
        chunk: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let mut from = self.blocks.leftover(chunk);
        out.extend_from_slice(chunk.get(..from).unwrap_or_default());
        while let Some(len) = self.blocks.end(chunk.get(from..).unwrap_or_default()) {
            let part = chunk.get(from..from + len).unwrap_or_default();
            if let Err(stop) = self.complete(looking, part, out) {
                // The blocked event was looked at; its successors are only read for what they cost.
                self.tail = chunk.get(from + len..).unwrap_or_default().to_vec();
                return Err(stop);
            }
            from += len;
        }
        self.begin(looking, chunk.get(from..).unwrap_or_default(), out)
    }

    /// The stream has ended: what was kept back.
    pub(super) fn finish(&mut self, looking: &mut Looking<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
        let mut tail = core::mem::take(&mut self.tail);
        if self.is_whole(&tail) || looking.lenient {
            tail.extend_from_slice(b"\n\n");
            self.event(looking, &tail, out)?;
        }
        self.close(looking, Closes::All, out)
    }

    /// Whether the last event lacks no more than its end. One that was cut in the middle says nothing to anybody.
    fn is_whole(&self, tail: &[u8]) -> bool {
        let mut joined = Vec::new();
        let data = data(tail, &mut joined);
        let plain = matches!(data.trim_ascii(), b"" | b"[DONE]");
        !tail.is_empty() && (plain || Event::of(self.endpoint, data).is_ok())
    }

    /// What came after that which stopped the stream.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.tail)
    }

    fn complete(&mut self, looking: &mut Looking<'_>, part: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        if core::mem::take(&mut self.overflowing) {
            out.extend_from_slice(part);
            return Ok(());
        }
        let mut tail = core::mem::take(&mut self.tail);
        if tail.len() + sse::content_len(part) > self.bound {
            self.unguarded(looking)?;
            out.extend_from_slice(&tail);
            out.extend_from_slice(part);
            return Ok(());
        }
        if tail.is_empty() {
            return self.event(looking, part, out);
        }
        tail.extend_from_slice(part);
        self.event(looking, &tail, out)
    }

    fn begin(&mut self, looking: &mut Looking<'_>, part: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        if !self.overflowing && self.tail.len() + part.len() > self.bound {
            self.unguarded(looking)?;
            self.overflowing = true;
            out.append(&mut self.tail);
        }
        if self.overflowing {
            out.extend_from_slice(part);
        } else {
            self.tail.extend_from_slice(part);
        }
        Ok(())
    }

    fn unguarded(&mut self, looking: &Looking<'_>) -> Result<(), Stop> {
        self.unguarded = true;
        if looking.lenient {
            Ok(())
        } else {
            Err(Stop::Unguarded)
        }
    }

    fn event(&mut self, looking: &mut Looking<'_>, block: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        let mut joined = core::mem::take(&mut self.joined);
        let data = data(block, &mut joined);
        let other = match data.trim_ascii() {
            b"" => None,
            b"[DONE]" => {
                self.close(looking, Closes::All, out)?;
                None
            }
            _ => match Event::of(self.endpoint, data) {
                Ok(event) => self.look(looking, (data, &event), out)?,
                Err(_) if !matches!(data.trim_ascii_start().first(), Some(b'{' | b'[')) => {
                    // No JSON to anybody: a text.
                    let masked = looking.watch.mask(looking.plan, data);
                    stopped(looking, data, data)?;
                    masked
                }
                Err(_) => {
                    self.unguarded(looking)?;
                    None
                }
            },
        };
        match other {
            Some(other) => out.extend(sse::with_data(block, &other)),
            None => out.extend_from_slice(block),
        }
        self.joined = joined;
        Ok(())
    }

    /// Looks an event over; answers its data, if that is another now.
    fn look(
        &mut self,
        looking: &mut Looking<'_>,
        (data, event): (&[u8], &Event<'_>),
        out: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Stop> {
        let mut changes = Vec::new();
        for piece in &event.pieces {
            let with = self.piece(looking, piece, event.closes)?;
            stopped(looking, data, piece.raw)?;
            changes.push((piece.raw, with));
        }
        looking.watch.repeat(event.repeats && self.spoke);
        for text in &event.whole.texts {
            let masked = looking.watch.mask_written(looking.plan, text.raw, text.written);
            stopped(looking, data, text.raw)?;
            changes.extend(masked.map(|masked| (text.raw, masked)));
        }
        looking.watch.repeat(false);
        self.close(looking, event.closes, out)?;
        if looking.plan.rules_bind() {
            let logprobs = event.whole.logprobs.iter();
            changes.extend(logprobs.map(|span| (*span, no_logprobs(self.endpoint).to_vec())));
        }
        changes.retain(|(raw, with)| raw != with);
        changes.sort_by_key(|(raw, _)| raw.as_ptr().addr());
        let mut spans = Spans::of(data);
        for (raw, with) in &changes {
            spans.put(raw, with);
        }
        Ok(spans.finish())
    }

    /// What goes on in the place of a piece.
    fn piece(
        &mut self,
        looking: &mut Looking<'_>,
        piece: &Piece<'_>,
        closes: Closes,
    ) -> Result<Vec<u8>, Stop> {
        self.spoke = true;
        let known = self.open.iter().position(|open| open.key == piece.key);
        if known.is_none() && self.open.len() >= MOST_OPEN {
            self.unguarded(looking)?;
            return Ok(piece.raw.to_vec());
        }
        let mut open = match known {
            Some(at) => self.open.swap_remove(at),
            None => Open {
                key: piece.key.clone(),
                guard: StreamGuard::of(piece.written),
                frame: Frame::default(),
            },
        };
        let mut with = open.guard.push(looking.plan, looking.watch, piece.raw);
        if closes.has(&open.key) {
            with.extend(open.guard.finish(looking.plan, looking.watch));
            return Ok(with);
        }
        if open.guard.held() > 0 {
            open.frame = piece.frame.clone();
        }
        self.open.push(open);
        Ok(with)
    }

    /// Ends texts: what is kept back of them goes out.
    fn close(&mut self, looking: &mut Looking<'_>, closes: Closes, out: &mut Vec<u8>) -> Result<(), Stop> {
        if closes == Closes::None {
            return Ok(());
        }
        let (closed, open) = core::mem::take(&mut self.open)
            .into_iter()
            .partition(|open: &Open| closes.has(&open.key));
        self.open = open;
        for mut open in closed {
            let rest = open.guard.finish(looking.plan, looking.watch);
            if looking.watch.blocked().is_some() {
                return Err(Stop::Blocked("the text".to_owned()));
            }
            if !rest.is_empty() {
                out.extend(open.frame.around(&rest));
            }
        }
        Ok(())
    }
}

/// What stands where a text was told token by token.
pub(super) fn no_logprobs(endpoint: Endpoint) -> &'static [u8] {
    if endpoint == Endpoint::Responses {
        b"[]"
    } else {
        b"null"
    }
}

fn data<'b>(block: &'b [u8], joined: &'b mut Vec<u8>) -> &'b [u8] {
    sse::event(block, joined).map_or(&[], |event| event.data)
}

/// Whether what was just looked at lets nothing go on.
fn stopped(looking: &Looking<'_>, data: &[u8], raw: &[u8]) -> Result<(), Stop> {
    if looking.watch.blocked().is_none() {
        return Ok(());
    }
    let offset = crate::guard::place(data, raw).map_or(0, |place| place.start);
    Err(Stop::Blocked(path(data, offset)))
}
