//! Writes a stream.

use super::super::delta::{Broken, Delta};
use super::super::id;
use super::super::out::{self, Object};
use super::super::reply::Stop;
use super::super::stream::StreamOptions;
use crate::dialect::Usage;

/// Talks to one client.
#[derive(Clone, Debug)]
pub(in super::super) struct Speaker {
    id: String,
    model: String,
    created: u64,
    include_usage: bool,
    begun: bool,
    called: bool,
    stop: Stop<'static>,
    usage: Usage,
}

impl Speaker {
    /// Nothing is said yet.
    pub(in super::super) fn new(options: &StreamOptions<'_>) -> Self {
        Self {
            id: format!("chatcmpl-{}", options.answer.id),
            model: options.answer.model.to_owned(),
            created: options.answer.created,
            include_usage: options.include_usage,
            begun: false,
            called: false,
            stop: Stop::End,
            usage: Usage::default(),
        }
    }

    /// Says one step; the role comes first.
    pub(in super::super) fn say(
        &mut self,
        delta: Delta<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken<'static>> {
        match delta {
            Delta::Begun => self.begin(out),
            Delta::Text(text) if text.is_empty() => {}
            Delta::Text(text) => self.chunk(out, |o| o.text("content", &text)),
            Delta::Call { slot, id, name } => self.call(out, slot, |o| {
                o.text("id", &id::portable(&id));
                o.text("type", "function");
                o.object("function", |o| {
                    o.text("name", &name);
                    o.text("arguments", "");
                });
            }),
            Delta::Arguments { slot, text } => {
                self.call(out, slot, |o| {
                    o.object("function", |o| o.text("arguments", &text))
                });
            }
            Delta::Stop(stop) => self.stop = stop,
            Delta::Usage(usage) => self.usage = usage,
            Delta::Done => self.end(out),
        }
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if core::mem::replace(&mut self.begun, true) {
            return;
        }
        self.choice(out, None, |o| {
            o.text("role", "assistant");
            o.text("content", "");
            o.null("refusal");
        });
    }

    fn call(&mut self, out: &mut Vec<u8>, slot: u64, fill: impl FnOnce(&mut Object<'_>)) {
        self.called = true;
        self.chunk(out, |o| {
            o.array("tool_calls", |a| {
                a.object(|o| {
                    o.number("index", slot);
                    fill(o);
                });
            });
        });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        let stop = self.stop.clone().given(self.called);
        self.choice(out, Some(stop.chat()), |_| {});
        if self.include_usage {
            self.data(out, |o| {
                o.array("choices", |_| {});
                o.object("usage", |o| super::usage(o, self.usage));
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn chunk(&mut self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Object<'_>)) {
        self.begin(out);
        self.choice(out, None, delta);
    }

    fn choice(&self, out: &mut Vec<u8>, finish: Option<&str>, delta: impl FnOnce(&mut Object<'_>)) {
        self.data(out, |o| {
            o.array("choices", |a| {
                a.object(|o| {
                    o.number("index", 0);
                    o.object("delta", delta);
                    o.null("logprobs");
                    match finish {
                        Some(reason) => o.text("finish_reason", reason),
                        None => o.null("finish_reason"),
                    }
                });
            });
            if self.include_usage {
                o.null("usage");
            }
        });
    }

    fn data(&self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(b"data: ");
        out::object(out, |o| {
            o.text("id", &self.id);
            o.text("object", "chat.completion.chunk");
            o.number("created", self.created);
            o.text("model", &self.model);
            fill(o);
        });
        out.extend_from_slice(b"\n\n");
    }
}
