//! Writes a stream.

use super::super::AnswerOptions;
use super::super::delta::{Broken, Delta, broken};
use super::super::id;
use super::super::out::{self, Object};
use super::super::reply::Stop;
use super::super::stream::StreamOptions;
use super::reply::{ending, head};
use crate::dialect::Usage;

/// Talks to one client.
#[derive(Clone, Debug)]
pub(in super::super) struct Speaker {
    id: String,
    model: String,
    begun: bool,
    /// The block that grows.
    open: Option<Block>,
    /// The index of the next block.
    next: u64,
    called: bool,
    stop: Stop<'static>,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Text,
    Call { slot: u64 },
}

impl Speaker {
    /// Nothing is said yet.
    pub(in super::super) fn new(options: &StreamOptions<'_>) -> Self {
        Self {
            id: options.answer.id.to_owned(),
            model: options.answer.model.to_owned(),
            begun: false,
            open: None,
            next: 0,
            called: false,
            stop: Stop::End,
            usage: Usage::default(),
        }
    }

    /// Says one step. Only the last block can grow: blocks come one after another.
    pub(in super::super) fn say(
        &mut self,
        delta: Delta<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken<'static>> {
        match delta {
            Delta::Begun => self.begin(out),
            Delta::Text(text) if text.is_empty() => {}
            Delta::Text(text) => self.text(&text, out),
            Delta::Call { slot, id, name } => self.call(slot, &id, &name, out),
            Delta::Arguments { slot, text } if self.open == Some(Block::Call { slot }) => {
                self.grow(out, |o| {
                    o.text("type", "input_json_delta");
                    o.text("partial_json", &text);
                });
            }
            Delta::Arguments { .. } => {
                return Err(broken("the provider mixes the arguments of several tool calls"));
            }
            Delta::Stop(stop) => self.stop = stop,
            Delta::Usage(usage) => self.usage = usage,
            Delta::Done => self.end(out),
        }
        Ok(())
    }

    /// The input's tokens are told at the end, as not all providers know them now.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if core::mem::replace(&mut self.begun, true) {
            return;
        }
        let options = AnswerOptions {
            model: &self.model,
            id: &self.id,
            created: 0,
        };
        event(out, "message_start", |o| {
            o.object("message", |o| {
                head(o, &options);
                o.array("content", |_| {});
                o.null("stop_reason");
                o.null("stop_sequence");
                o.object("usage", |o| super::usage(o, self.usage));
            });
        });
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.open != Some(Block::Text) {
            self.open(Block::Text, out, |o| {
                o.text("type", "text");
                o.text("text", "");
            });
        }
        self.grow(out, |o| {
            o.text("type", "text_delta");
            o.text("text", text);
        });
    }

    fn call(&mut self, slot: u64, id: &str, name: &str, out: &mut Vec<u8>) {
        self.called = true;
        self.open(Block::Call { slot }, out, |o| {
            o.text("type", "tool_use");
            o.text("id", &id::portable(id));
            o.text("name", name);
            o.object("input", |_| {});
        });
    }

    fn open(&mut self, block: Block, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        self.begin(out);
        self.close(out);
        event(out, "content_block_start", |o| {
            o.number("index", self.next);
            o.object("content_block", fill);
        });
        self.open = Some(block);
        self.next = self.next.saturating_add(1);
    }

    fn grow(&mut self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        event(out, "content_block_delta", |o| {
            o.number("index", self.next.saturating_sub(1));
            o.object("delta", fill);
        });
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            event(out, "content_block_stop", |o| {
                o.number("index", self.next.saturating_sub(1))
            });
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.close(out);
        let stop = self.stop.clone().given(self.called);
        event(out, "message_delta", |o| {
            o.object("delta", |o| ending(o, &stop));
            o.object("usage", |o| super::usage(o, self.usage));
        });
        event(out, "message_stop", |_| {});
    }
}

fn event(out: &mut Vec<u8>, kind: &str, fill: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out::object(out, |o| {
        o.text("type", kind);
        fill(o);
    });
    out.extend_from_slice(b"\n\n");
}
