//! Reads a stream: each event is an answer that holds what is new, and the usage so far.

use super::super::delta::{Broken, Delta, broken};
use super::super::error::Failure;
use super::super::node::Node;
use super::super::reply::Stop;
use super::answer::id;
use crate::dialect::{Endpoint, Report};

/// Understands one stream.
#[derive(Clone, Debug)]
pub(in super::super) struct Listener {
    seed: String,
    begun: bool,
    stopped: bool,
    calls: u64,
    /// Parts so far, which name the calls that have no id as in a complete answer.
    parts: usize,
    report: Report,
}

impl Listener {
    /// Nothing is heard yet. `seed` makes the ids of calls that have none unique.
    pub(in super::super) fn new(seed: &str) -> Self {
        Self {
            seed: seed.to_owned(),
            begun: false,
            stopped: false,
            calls: 0,
            parts: 0,
            report: Report::default(),
        }
    }

    /// Whether the answer has ended: no other sign than the end of the transport will follow.
    pub(in super::super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Reads one event.
    pub(in super::super) fn hear<'e>(
        &mut self,
        event: Node<'e>,
        to: &mut Vec<Delta<'e>>,
    ) -> Result<(), Broken<'e>> {
        let whole = event.items().next().unwrap_or(event);
        if whole.member("error").is_some() {
            return Err(Failure::of_event(whole));
        }
        if let Some(usage) = whole.member("usageMetadata") {
            let read = self.report.read(usage.raw());
            let usage = read.and_then(|()| self.report.usage(Endpoint::GenerateContent));
            to.extend(usage.ok().map(Delta::Usage));
        }
        if !core::mem::replace(&mut self.begun, true) {
            to.push(Delta::Begun);
        }
        match whole.member("candidates").and_then(|list| list.items().next()) {
            Some(candidate) => self.candidate(candidate, to),
            None => {
                if super::blocked(whole) {
                    self.stop(Stop::Refused, to);
                }
                Ok(())
            }
        }
    }

    fn candidate<'e>(&mut self, candidate: Node<'e>, to: &mut Vec<Delta<'e>>) -> Result<(), Broken<'e>> {
        for part in super::parts(candidate) {
            self.part(part, to)?;
        }
        if let Some(reason) = candidate.text_of("finishReason") {
            let stop = super::stop(&reason).ok_or_else(|| broken("the provider's answer is of no use"))?;
            self.stop(stop, to);
        }
        Ok(())
    }

    fn part<'e>(&mut self, part: Node<'e>, to: &mut Vec<Delta<'e>>) -> Result<(), Broken<'e>> {
        let place = self.parts;
        let Some(call) = part.member("functionCall") else {
            let text = part.text_of("text").filter(|text| !text.is_empty());
            self.parts = self.parts.saturating_add(usize::from(text.is_some()));
            to.extend(text.map(Delta::Text));
            return Ok(());
        };
        let Some(name) = call.text_of("name") else {
            return Err(broken("a tool call of the provider's has no name"));
        };
        let slot = self.calls;
        self.calls = self.calls.saturating_add(1);
        self.parts = self.parts.saturating_add(1);
        let id = id(call, place, &self.seed);
        to.push(Delta::Call { slot, id, name });
        let args = call.member("args").map_or(&b"{}"[..], Node::raw);
        let text = String::from_utf8_lossy(args);
        to.push(Delta::Arguments { slot, text });
        Ok(())
    }

    fn stop(&mut self, stop: Stop<'static>, to: &mut Vec<Delta<'_>>) {
        self.stopped = true;
        to.push(Delta::Stop(stop));
    }
}
