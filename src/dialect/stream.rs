//! Reading an event stream while it passes, and changing it where that was asked for.
//!
//! Where nothing may be changed, bytes pass at once and only the unfinished event is copied. Where something may be
//! changed, an unfinished event is kept back until it is complete. Either way what goes out, what is counted and what
//! was said don't depend on where the stream was cut, and no more than the bound is ever kept of anything.

use super::Endpoint;
use super::answer::Answer;
use super::event::{Kind, Progress, Tally};
use crate::body::sse::{self, Blocks};

/// What a reader of a stream is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Drop the extra chunk with usage and no choices, which the client didn't ask for. Never a chunk with choices.
    pub strip_usage: bool,
    /// Gather the assistant's text, up to this many bytes.
    pub gather: Option<usize>,
    /// Hold the first event that ends the answer and all after it, until [`StreamReader::take_held`] or
    /// [`StreamReader::fail`].
    pub hold_end: bool,
    /// A larger event, and more held than this, passes unread (in bytes).
    pub line_bound: usize,
}

/// What becomes of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It goes on as it is.
    Unchanged,
    /// These bytes go on in its place (none, perhaps).
    Replaced(Vec<u8>),
}

/// A reader of an event stream.
#[derive(Clone, Debug)]
pub struct StreamReader {
    options: StreamOptions,
    blocks: Blocks,
    tally: Tally,
    /// The event that is not complete yet.
    tail: Vec<u8>,
    /// The current event is over its bound: it passes unread.
    overflowing: bool,
    holding: Holding,
    held: Vec<u8>,
    /// What became of the last event: the LF of its last CR shares its fate.
    last: Fate,
    /// The stream ended within an event, and that went out.
    ragged: bool,
    joined: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    /// Not yet, and perhaps never.
    No,
    /// From the end of the answer on.
    Yes,
    /// No more: everything passes.
    Released,
    /// No more: everything is dropped.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Drop,
    Hold,
}

/// What goes out for a chunk; copied only from where it differs.
struct Output<'c> {
    chunk: &'c [u8],
    /// How much of the chunk went out as it is; meaningful while there is no copy.
    same: usize,
    copy: Option<Vec<u8>>,
}

impl StreamReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new(endpoint: Endpoint, options: StreamOptions) -> Self {
        Self {
            options,
            blocks: Blocks::default(),
            tally: Tally::new(endpoint, options.gather),
            tail: Vec::new(),
            overflowing: false,
            holding: Holding::No,
            held: Vec::new(),
            last: Fate::Pass,
            ragged: false,
            joined: Vec::new(),
        }
    }

    /// Reads the next chunk and says what goes on in its place.
    pub fn push(&mut self, chunk: &[u8]) -> Passed {
        let mut out = Output::new(chunk);
        if self.edits() && !self.tail.is_empty() {
            out.differs();
        }
        let mut from = self.blocks.leftover(chunk);
        self.send(self.last, chunk.get(..from).unwrap_or_default(), &mut out);
        while let Some(len) = self.blocks.end(chunk.get(from..).unwrap_or_default()) {
            let block = chunk.get(from..from + len).unwrap_or_default();
            self.complete(block, &mut out);
            from += len;
        }
        self.begin(chunk.get(from..).unwrap_or_default(), &mut out);
        out.finish(self.edits())
    }

    /// Reads what is left at the end of the stream, as if the last event were complete, and answers what of it was kept
    /// back and goes on now.
    pub fn finish(&mut self) -> Vec<u8> {
        let tail = core::mem::take(&mut self.tail);
        if tail.is_empty() {
            return Vec::new();
        }
        let mut out = Output::new(b"");
        out.differs();
        let fate = self.read(&tail);
        self.send(fate, &tail, &mut out);
        self.ragged = fate == Fate::Pass;
        if self.edits() {
            out.copy.unwrap_or_default()
        } else {
            Vec::new()
        }
    }

    /// How far the answer has come.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.tally.progress
    }

    /// What was held goes on: it is handed out, and everything after it passes.
    pub fn take_held(&mut self) -> Vec<u8> {
        if self.holding != Holding::Failed {
            self.holding = Holding::Released;
        }
        core::mem::take(&mut self.held)
    }

    /// What was held is dropped, and everything after it.
    pub fn fail(&mut self) {
        self.holding = Holding::Failed;
        self.held = Vec::new();
        self.tail = Vec::new();
    }

    /// Whether something is being held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.holding == Holding::Yes
    }

    /// Whether everything that went out so far were whole events, so that another may follow.
    #[must_use]
    pub fn between_events(&self) -> bool {
        !self.ragged && (self.blocks.between() || self.edits() && !self.overflowing)
    }

    /// What the assistant said, as far as the stream has come.
    #[must_use]
    pub fn answer(&self) -> Answer {
        self.tally.notes.clone().answer()
    }

    /// Whether what goes out may differ from what comes in.
    fn edits(&self) -> bool {
        self.options.strip_usage || self.options.hold_end || self.holding == Holding::Failed
    }

    /// The rest of a block has come, its empty line included.
    fn complete(&mut self, part: &[u8], out: &mut Output<'_>) {
        if core::mem::take(&mut self.overflowing) {
            self.last = self.unread_fate();
            self.send(self.last, part, out);
        } else if self.tail.is_empty() {
            self.last = self.read_bounded(part);
            self.send(self.last, part, out);
        } else {
            self.join(part, out);
        }
    }

    fn join(&mut self, part: &[u8], out: &mut Output<'_>) {
        let mut tail = core::mem::take(&mut self.tail);
        if tail.len() + sse::content_len(part) > self.options.line_bound {
            self.last = self.too_large();
            self.send_tail(&tail, out);
            self.send(self.last, part, out);
        } else {
            let kept = tail.len();
            tail.extend_from_slice(part);
            self.last = self.read(&tail);
            self.send_tail(tail.get(..kept).unwrap_or_default(), out);
            self.send(self.last, part, out);
        }
        tail.clear();
        self.tail = tail;
    }

    /// A block has begun, or gone on, and isn't complete.
    fn begin(&mut self, part: &[u8], out: &mut Output<'_>) {
        if part.is_empty() {
            return;
        }
        if !self.overflowing && self.tail.len() + part.len() > self.options.line_bound {
            let tail = core::mem::take(&mut self.tail);
            self.overflowing = true;
            self.last = self.too_large();
            self.send_tail(&tail, out);
        }
        if self.overflowing {
            self.last = self.unread_fate();
            self.send(self.last, part, out);
        } else {
            self.tail.extend_from_slice(part);
            out.keep_back(self.edits());
        }
    }

    fn read_bounded(&mut self, block: &[u8]) -> Fate {
        if sse::content_len(block) > self.options.line_bound {
            self.too_large()
        } else {
            self.read(block)
        }
    }

    fn too_large(&mut self) -> Fate {
        self.tally.progress.oversize = true;
        self.tally.notes.give_up();
        self.unread_fate()
    }

    fn unread_fate(&self) -> Fate {
        match self.holding {
            Holding::No | Holding::Released => Fate::Pass,
            Holding::Yes => Fate::Hold,
            Holding::Failed => Fate::Drop,
        }
    }

    fn read(&mut self, block: &[u8]) -> Fate {
        let kind = match sse::event(block, &mut self.joined) {
            Some(event) => self.tally.event(event.name, event.data),
            None => Kind::Plain,
        };
        if kind == Kind::End && self.options.hold_end && self.holding == Holding::No {
            self.holding = Holding::Yes;
        }
        if kind == Kind::UsageOnly && self.options.strip_usage {
            return Fate::Drop;
        }
        self.unread_fate()
    }

    /// What was kept back goes where the rest of its block goes.
    fn send_tail(&mut self, tail: &[u8], out: &mut Output<'_>) {
        if self.edits() {
            match self.last {
                Fate::Pass => out.put(tail),
                Fate::Drop => {}
                Fate::Hold => self.hold(tail, out),
            }
        }
    }

    /// Sends bytes of the chunk, which must be the next ones, where they go.
    fn send(&mut self, fate: Fate, part: &[u8], out: &mut Output<'_>) {
        if part.is_empty() {
            return;
        }
        match fate {
            Fate::Pass => out.pass(part),
            Fate::Drop => out.differs(),
            Fate::Hold => {
                out.differs();
                self.hold(part, out);
            }
        }
    }

    /// More than the bound isn't held: nothing is lost, and the answer is called too long.
    fn hold(&mut self, bytes: &[u8], out: &mut Output<'_>) {
        if self.holding == Holding::Yes && self.held.len() + bytes.len() <= self.options.line_bound {
            self.held.extend_from_slice(bytes);
            return;
        }
        self.tally.progress.oversize = true;
        self.tally.notes.give_up();
        self.last = Fate::Pass;
        out.put(&self.take_held());
        out.put(bytes);
    }
}

impl<'c> Output<'c> {
    fn new(chunk: &'c [u8]) -> Self {
        Self {
            chunk,
            same: 0,
            copy: None,
        }
    }

    /// The chunk's next bytes go out.
    fn pass(&mut self, part: &[u8]) {
        match &mut self.copy {
            None => self.same += part.len(),
            Some(copy) => copy.extend_from_slice(part),
        }
    }

    /// Other bytes go out.
    fn put(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.differs();
            self.pass(bytes);
        }
    }

    /// From here on what goes out isn't the chunk.
    fn differs(&mut self) {
        let same = self.chunk.get(..self.same).unwrap_or_default();
        self.copy.get_or_insert_with(|| same.to_vec());
    }

    /// The chunk's rest waits for more, where that may matter.
    fn keep_back(&mut self, edits: bool) {
        if edits {
            self.differs();
        }
    }

    fn finish(self, edits: bool) -> Passed {
        match self.copy {
            Some(copy) if edits => Passed::Replaced(copy),
            Some(_) | None => Passed::Unchanged,
        }
    }
}
