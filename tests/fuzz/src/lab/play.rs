//! One exchange, driven as a host drives it.

use spillway::dialect::Endpoint;
use spillway::exchange::{
    Body, Call, CallAnswer, Edit, Ending, Exchange, Flow, Reply, RequestHead, ResponseHead, Step, Turn, Way,
};
use spillway::headers::Headers;
use spillway::store::MemoryStore;

use super::script::{Answer, Fields, Script};
use super::{KEY, Lab, attempts, found};
use crate::truth;

/// Calls that an exchange may make; far more than any policy of ours allows.
const MOST_CALLS: usize = 40;
/// Headers that carry credentials.
const CREDENTIALS: [&str; 5] = [
    "api-key",
    "authorization",
    "cookie",
    "x-api-key",
    "x-goog-api-key",
];

/// The exchange as client and provider see it.
pub(super) struct Play<'l, 'g> {
    pub(super) lab: &'l mut Lab<'g>,
    exchange: Exchange,
    pub(super) headers: Fields,
    pub(super) body: Vec<u8>,
    buffered: Vec<u8>,
    reply: Option<Reply>,
    out: Vec<Call>,
    holds: bool,
    answer_headers: Fields,
    answer: Vec<u8>,
    /// Callbacks until it is broken off.
    patience: usize,
    calls: usize,
}

/// Plays it to its end.
pub(super) fn play(lab: &mut Lab<'_>, script: &Script<'_>) {
    let mut play = Play {
        lab,
        exchange: Exchange::Start,
        headers: script.request.clone(),
        body: Vec::new(),
        buffered: Vec::new(),
        reply: None,
        out: Vec::new(),
        holds: false,
        answer_headers: Vec::new(),
        answer: Vec::new(),
        patience: script.patience,
        calls: 0,
    };
    let ending = if play.request(script) && play.response(script) {
        Ending::Complete
    } else {
        script.ending
    };
    play.end(script, ending);
}

impl Play<'_, '_> {
    /// Whether the request went out.
    fn request(&mut self, script: &Script<'_>) -> bool {
        let headers: Headers = script.request.iter().cloned().collect();
        let end = script.body.is_empty();
        let step = self.run(script, |exchange, turn, property| {
            let head = RequestHead {
                headers: &headers,
                end,
                property,
            };
            exchange.request_headers(turn, &head)
        });
        edit(&mut self.headers, &step.edits);
        self.flow(step);
        for (at, chunk) in script.body.iter().enumerate() {
            if self.is_over(script) {
                return false;
            }
            let end = at + 1 == script.body.len() && !script.trailers;
            let (out, step) = self.part(script, (chunk, end), |exchange, turn, body| {
                exchange.request_body(turn, body)
            });
            self.body.extend(out);
            edit(&mut self.headers, &step.edits);
            self.flow(step);
        }
        if script.trailers && !end && !self.is_over(script) {
            let step = self.run(script, |exchange, turn, _| exchange.request_trailers(turn));
            edit(&mut self.headers, &step.edits);
            if step.flow == Flow::Continue {
                let held = core::mem::take(&mut self.buffered);
                self.body.extend(held);
            }
            self.flow(step);
        }
        self.settle_calls(script, "a request");
        self.lab.share();
        !self.is_over(script)
    }

    /// Whether the answer went out whole.
    fn response(&mut self, script: &Script<'_>) -> bool {
        self.to_provider(script);
        if attempts::is_native(self) {
            return match attempts::answered(self, script) {
                Some((fields, body)) => self.answered(script, &fields, &[&body]),
                None => {
                    self.lab.set(
                        "response.code_details",
                        b"upstream_reset_before_response_started{reset}",
                    );
                    let fields = [(":status".to_owned(), b"503".to_vec())];
                    self.answered(script, &fields, &[])
                }
            };
        }
        self.lab.set("response.code_details", b"via_upstream");
        self.answered(script, &script.answer.fields, &script.chunks)
    }

    fn answered(&mut self, script: &Script<'_>, fields: &[(String, Vec<u8>)], chunks: &[&[u8]]) -> bool {
        let headers: Headers = fields.iter().cloned().collect();
        self.answer_headers = fields.to_vec();
        let end = chunks.is_empty();
        let step = self.run(script, |exchange, turn, property| {
            let head = ResponseHead {
                headers: &headers,
                end,
                property,
            };
            exchange.response_headers(turn, &head)
        });
        edit(&mut self.answer_headers, &step.edits);
        self.flow(step);
        for (at, chunk) in chunks.iter().enumerate() {
            if self.is_over(script) {
                return false;
            }
            let end = at + 1 == chunks.len() && !script.trailers;
            let (out, step) = self.part(script, (chunk, end), |exchange, turn, body| {
                exchange.response_body(turn, body)
            });
            self.answer.extend(out);
            edit(&mut self.answer_headers, &step.edits);
            self.flow(step);
        }
        if script.trailers && !end && !self.is_over(script) {
            let holds = self.holds;
            let (out, step) = self.part(script, (b"", true), |exchange, turn, body| {
                exchange.response_trailers(turn, holds.then_some(body))
            });
            assert!(
                holds || out.is_empty(),
                "the host lets nothing be written that it doesn't hold"
            );
            self.answer.extend(out);
            edit(&mut self.answer_headers, &step.edits);
            self.flow(step);
        }
        self.settle_calls(script, "an answer");
        !self.is_over(script)
    }

    /// One callback.
    fn run(
        &mut self,
        script: &Script<'_>,
        run: impl FnOnce(
            Exchange,
            &mut Turn<'_, MemoryStore>,
            &dyn Fn(&[&str]) -> Option<Vec<u8>>,
        ) -> (Exchange, Step),
    ) -> Step {
        self.patience = self.patience.saturating_sub(1);
        self.lab.later(script.step);
        let exchange = core::mem::take(&mut self.exchange);
        let properties = core::mem::take(&mut self.lab.properties);
        let property = |path: &[&str]| found(&properties, path);
        let (exchange, step) = self.lab.turn(|turn| run(exchange, turn, &property));
        self.lab.properties = properties;
        self.exchange = exchange;
        let weight = self.exchange.weight();
        assert!(weight.kept <= (4 << 20), "{weight:?}");
        step
    }

    /// The host buffers what is held, and shows all of it.
    fn part(
        &mut self,
        script: &Script<'_>,
        (chunk, end): (&[u8], bool),
        run: impl FnOnce(Exchange, &mut Turn<'_, MemoryStore>, &Body<'_>) -> (Exchange, Step),
    ) -> (Vec<u8>, Step) {
        self.buffered.extend_from_slice(chunk);
        let bytes = core::mem::take(&mut self.buffered);
        let body = Body {
            size: bytes.len(),
            end,
            read: &|start, most| bytes.iter().skip(start).take(most).copied().collect(),
        };
        let mut step = self.run(script, |exchange, turn, _| run(exchange, turn, &body));
        let out = step.body.take().unwrap_or(bytes);
        if matches!(step.flow, Flow::Hold | Flow::Calls(_)) {
            self.buffered = out;
            return (Vec::new(), step);
        }
        (out, step)
    }

    fn flow(&mut self, step: Step) {
        self.holds = matches!(step.flow, Flow::Hold | Flow::Calls(_));
        match step.flow {
            Flow::Reply(reply) => self.reply = Some(reply),
            // What calls before them say is for nobody any more.
            Flow::Calls(calls) => self.out = calls,
            Flow::Resume(resume) => {
                assert_eq!(
                    resume.held,
                    self.buffered.len(),
                    "the host is told how much it holds"
                );
                let held = core::mem::take(&mut self.buffered);
                let out = step.body.unwrap_or(held);
                let (headers, body) = match resume.way {
                    Way::Request => (&mut self.headers, &mut self.body),
                    Way::Response => (&mut self.answer_headers, &mut self.answer),
                };
                body.extend(out);
                edit(headers, &step.edits);
            }
            Flow::Continue | Flow::Hold => {}
        }
    }

    /// Whether nothing more comes; calls are answered before that is known, if at once.
    fn is_over(&mut self, script: &Script<'_>) -> bool {
        if script.eager {
            while !self.out.is_empty() && self.patience > 0 {
                self.answer_call(script);
            }
        }
        self.reply.is_some() || self.patience == 0
    }

    /// Everything has come: whoever is held now must have something to wait for.
    fn settle_calls(&mut self, script: &Script<'_>, what: &str) {
        while self.holds && self.reply.is_none() && self.patience > 0 {
            match (!self.out.is_empty(), self.exchange.due()) {
                (true, _) => self.answer_call(script),
                (false, Some(_)) => self.wake(script),
                (false, None) => panic!("{what} is held for ever"),
            }
        }
    }

    fn answer_call(&mut self, script: &Script<'_>) {
        let Some(call) = self.out.pop() else {
            return;
        };
        self.calls += 1;
        assert!(self.calls < MOST_CALLS, "calls without end");
        assert!(!call.timeout.is_zero() && !call.cluster.is_empty());
        let answer = script.calls.get(self.calls - 1);
        if answer.is_none() && script.calls.len() % 2 == 1 && self.exchange.due().is_some() {
            self.out.push(call);
            return self.wake(script);
        }
        let answer = answer.map_or_else(CallAnswer::unsent, Answer::called);
        let step = self.run(script, |exchange, turn, _| exchange.called(turn, call.of, answer));
        self.flow(step);
    }

    /// The time comes that it waits for.
    fn wake(&mut self, script: &Script<'_>) {
        self.calls += 1;
        assert!(self.calls < MOST_CALLS, "woken without end");
        let now = self.lab.now.monotonic;
        let due = self.exchange.due().unwrap_or(now);
        self.lab.later(due.since(now));
        let step = self.run(script, |exchange, turn, _| exchange.woken(turn));
        if !matches!(step.flow, Flow::Hold) {
            self.out.clear();
            self.flow(step);
        }
    }

    /// What goes to a provider carries no credential but ours.
    fn to_provider(&self, script: &Script<'_>) {
        let path = script.request.iter().find(|(name, _)| name == ":path");
        let ours = path.is_some_and(|(_, path)| Endpoint::of(b"POST", path).is_some());
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| ours && CREDENTIALS.contains(&name.as_str()))
        {
            let client = script
                .request
                .iter()
                .any(|(other, theirs)| other == name && theirs == value);
            assert!(!client, "{name} goes on");
        }
    }

    fn end(mut self, script: &Script<'_>, ending: Ending) {
        let exchange = core::mem::take(&mut self.exchange);
        let properties = core::mem::take(&mut self.lab.properties);
        let property = |path: &[&str]| found(&properties, path);
        let record = self.lab.turn(|turn| {
            let mut exchange = exchange;
            exchange.recall(turn, &property);
            exchange.end(turn, ending)
        });
        let secret = |bytes: &[u8]| bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
        if let Some(record) = record {
            let line = record.to_json();
            truth::assert_json(&line);
            assert!(!secret(&line));
        }
        if let Some(reply) = &self.reply {
            let told = |answer: &Answer<'_>| {
                let status = reply.status.to_string();
                answer
                    .fields
                    .iter()
                    .any(|(_, value)| value.trim_ascii() == status.as_bytes())
            };
            let theirs = script.calls.iter().any(told) || told(&script.answer);
            assert!((200..600).contains(&reply.status) || theirs, "{}", reply.status);
            let json = reply
                .headers
                .iter()
                .any(|(name, value)| name == "content-type" && value == "application/json");
            let own = !script.calls.iter().any(|answer| answer.body == reply.body);
            if json && own && reply.details.starts_with("spillway") {
                truth::assert_json(&reply.body);
            }
            assert!(!secret(&reply.body));
        }
        assert!(!secret(&self.answer));
        let policy = &self.lab.gateway.policy;
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(
            self.lab
                .effects
                .metrics
                .iter()
                .all(|(metric, _)| plain(&metric.name(policy)))
        );
    }
}

/// Does to a header map what a step asks for.
pub(super) fn edit(headers: &mut Fields, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                headers.retain(|(other, _)| other != name);
                headers.push((name.to_string(), value.as_bytes().to_vec()));
            }
            Edit::Remove(name) => headers.retain(|(other, _)| other.as_bytes() != name.as_slice()),
        }
    }
}
