//! Reads a stream: a row of chunks, then `[DONE]`.

use std::borrow::Cow;

use super::super::delta::{Broken, Delta, broken};
use super::super::error::Failure;
use super::super::node::Node;
use super::super::reply::Stop;
use super::answer::stop;
use crate::dialect::{Endpoint, Report};

/// More calls than this in one answer break the stream.
const CALLS: usize = 256;

/// Understands one stream.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Listener {
    begun: bool,
    refused: bool,
    /// The calls by slot: their index on the wire, which some imitators repeat, and their id.
    calls: Vec<(u64, String)>,
    report: Report,
}

impl Listener {
    /// Reads one chunk.
    pub(in super::super) fn hear<'e>(
        &mut self,
        chunk: Node<'e>,
        to: &mut Vec<Delta<'e>>,
    ) -> Result<(), Broken<'e>> {
        if chunk.member("error").is_some() {
            return Err(Failure::of_event(chunk));
        }
        if let Some(usage) = chunk.member("usage") {
            let read = self.report.read(usage.raw());
            let usage = read.and_then(|()| self.report.usage(Endpoint::ChatCompletions));
            to.extend(usage.ok().map(Delta::Usage));
        }
        if !core::mem::replace(&mut self.begun, true) {
            to.push(Delta::Begun);
        }
        let choices = chunk.member("choices").into_iter().flat_map(Node::items);
        let first = |choice: &Node<'_>| choice.member("index").and_then(Node::unsigned).unwrap_or(0) == 0;
        for choice in choices.filter(first) {
            self.choice(choice, to)?;
        }
        Ok(())
    }

    fn choice<'e>(&mut self, choice: Node<'e>, to: &mut Vec<Delta<'e>>) -> Result<(), Broken<'e>> {
        if let Some(delta) = choice.member("delta") {
            to.extend(delta.text_of("content").map(Delta::Text));
            if let Some(refusal) = delta.text_of("refusal").filter(|text| !text.is_empty()) {
                self.refused = true;
                to.push(Delta::Text(refusal));
            }
            for call in delta.member("tool_calls").into_iter().flat_map(Node::items) {
                self.call(call, to)?;
            }
        }
        if let Some(reason) = choice
            .text_of("finish_reason")
            .filter(|reason| !reason.is_empty())
        {
            let stop = if self.refused {
                Stop::Refused
            } else {
                stop(&reason)
            };
            to.push(Delta::Stop(stop));
        }
        Ok(())
    }

    fn call<'e>(&mut self, call: Node<'e>, to: &mut Vec<Delta<'e>>) -> Result<(), Broken<'e>> {
        let function = call.member("function");
        let part = |name| function.and_then(|function| function.text_of(name));
        let id = call.text_of("id").filter(|id| !id.is_empty());
        let index = call.member("index").and_then(Node::unsigned);
        let slot = match self.known(index, id.as_deref()) {
            Some(slot) => slot,
            None => self.begin(index, id, part("name"), to)?,
        };
        if let Some(text) = part("arguments").filter(|text| !text.is_empty()) {
            to.push(Delta::Arguments { slot, text });
        }
        Ok(())
    }

    /// The slot of a call that has begun: the last one with this index, unless another id is given.
    fn known(&self, index: Option<u64>, id: Option<&str>) -> Option<u64> {
        let fits = |(at, known): &(u64, String)| {
            index.is_none_or(|index| index == *at) && id.is_none_or(|id| id == known)
        };
        self.calls
            .iter()
            .rposition(fits)
            .and_then(|slot| u64::try_from(slot).ok())
    }

    fn begin<'e>(
        &mut self,
        index: Option<u64>,
        id: Option<Cow<'e, str>>,
        name: Option<Cow<'e, str>>,
        to: &mut Vec<Delta<'e>>,
    ) -> Result<u64, Broken<'e>> {
        let (Some(id), Some(name)) = (id, name) else {
            return Err(broken("a tool call of the provider's has no id or no name"));
        };
        let slot = u64::try_from(self.calls.len()).unwrap_or(u64::MAX);
        if self.calls.len() >= CALLS {
            return Err(broken("the provider calls too many tools"));
        }
        self.calls.push((index.unwrap_or(slot), id.clone().into_owned()));
        to.push(Delta::Call { slot, id, name });
        Ok(slot)
    }
}
