//! Reads a stream: a message that begins, blocks that grow, a message that stops.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::delta::{Broken, Delta, broken};
use super::super::error::Failure;
use super::super::node::Node;
use super::OUTPUT_TOOL;
use super::answer::stop;
use crate::dialect::{Endpoint, Report};

/// More blocks than this open at a time break the stream.
const OPEN: usize = 64;

/// Understands one stream.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Listener {
    /// The open blocks by their index.
    open: BTreeMap<u64, Block>,
    calls: u64,
    report: Report,
}

/// What a block adds to.
#[derive(Clone, Copy, Debug)]
enum Block {
    Text,
    /// The tool that stands for the output's schema: its input is text.
    Output,
    Call {
        slot: u64,
        /// Some of its arguments came.
        spoken: bool,
    },
    /// A thought, or what Anthropic's own tools do.
    Unheard,
}

impl Listener {
    /// Reads one event; what isn't known means nothing.
    pub(in super::super) fn hear<'e>(
        &mut self,
        name: &[u8],
        event: Node<'e>,
        to: &mut Vec<Delta<'e>>,
    ) -> Result<(), Broken<'e>> {
        let kind = event.text_of("type").unwrap_or_default();
        let index = event.member("index").and_then(Node::unsigned).unwrap_or(0);
        match &*kind {
            _ if kind == "error" || name == b"error" => return Err(Failure::of_event(event)),
            "message_start" => {
                to.push(Delta::Begun);
                self.usage(
                    event
                        .member("message")
                        .and_then(|message| message.member("usage")),
                    to,
                );
            }
            "content_block_start" => self.begin(index, event.member("content_block"), to)?,
            "content_block_delta" => self.grow(index, event.member("delta"), to),
            "content_block_stop" => self.end(index, to),
            "message_delta" => {
                self.usage(event.member("usage"), to);
                let delta = event.member("delta");
                let reason = delta.and_then(|delta| delta.text_of("stop_reason"));
                let sequence = delta.and_then(|delta| delta.text_of("stop_sequence"));
                let stop = reason.map(|reason| stop(&reason, sequence));
                to.extend(stop.map(|stop| Delta::Stop(stop.owned())));
            }
            "message_stop" => to.push(Delta::Done),
            _ => {}
        }
        Ok(())
    }

    fn usage(&mut self, usage: Option<Node<'_>>, to: &mut Vec<Delta<'_>>) {
        let Some(usage) = usage else {
            return;
        };
        let read = self.report.read(usage.raw());
        let usage = read.and_then(|()| self.report.usage(Endpoint::Messages));
        to.extend(usage.ok().map(Delta::Usage));
    }

    fn begin<'e>(
        &mut self,
        index: u64,
        block: Option<Node<'e>>,
        to: &mut Vec<Delta<'e>>,
    ) -> Result<(), Broken<'e>> {
        let block = block.ok_or_else(|| broken("a block of the provider's stream is missing"))?;
        if self.open.len() >= OPEN {
            return Err(broken("the provider's stream has too many blocks"));
        }
        let opened = match block.text_of("type").as_deref() {
            Some("text") => {
                to.extend(block.text_of("text").map(Delta::Text));
                Block::Text
            }
            Some("tool_use") => self.call(block, to)?,
            Some(_) | None => Block::Unheard,
        };
        self.open.insert(index, opened);
        Ok(())
    }

    /// Imitators send the whole input at once.
    fn call<'e>(&mut self, block: Node<'e>, to: &mut Vec<Delta<'e>>) -> Result<Block, Broken<'e>> {
        let (Some(id), Some(name)) = (block.text_of("id"), block.text_of("name")) else {
            return Err(broken("a tool call of the provider's has no id or no name"));
        };
        let input = block
            .member("input")
            .filter(|input| input.members().next().is_some());
        let text = input.map(|input| String::from_utf8_lossy(input.raw()));
        if name == OUTPUT_TOOL {
            to.extend(text.map(Delta::Text));
            return Ok(Block::Output);
        }
        let slot = self.calls;
        self.calls = self.calls.saturating_add(1);
        to.push(Delta::Call { slot, id, name });
        let spoken = text.is_some();
        to.extend(text.map(|text| Delta::Arguments { slot, text }));
        Ok(Block::Call { slot, spoken })
    }

    fn grow<'e>(&mut self, index: u64, delta: Option<Node<'e>>, to: &mut Vec<Delta<'e>>) {
        let (Some(block), Some(delta)) = (self.open.get_mut(&index), delta) else {
            return;
        };
        let json = delta.text_of("partial_json").filter(|text| !text.is_empty());
        match block {
            Block::Text => to.extend(delta.text_of("text").map(Delta::Text)),
            Block::Output => to.extend(json.map(Delta::Text)),
            Block::Call { slot, spoken } => {
                *spoken |= json.is_some();
                let slot = *slot;
                to.extend(json.map(|text| Delta::Arguments { slot, text }));
            }
            Block::Unheard => {}
        }
    }

    /// A call without arguments says nothing here; elsewhere it says `{}`.
    fn end(&mut self, index: u64, to: &mut Vec<Delta<'_>>) {
        if let Some(Block::Call { slot, spoken: false }) = self.open.remove(&index) {
            let text = Cow::Borrowed("{}");
            to.push(Delta::Arguments { slot, text });
        }
    }
}
