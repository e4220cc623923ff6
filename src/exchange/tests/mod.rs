//! The state machine, driven as a host drives it: what clients, providers, the ledger and the breakers see of it.

mod admission;
mod answers;
mod breakers;
mod callouts;
mod chances;
mod counting;
mod crossed;
mod drills;
mod endings;
mod failover;
mod faults;
mod fleet;
mod guards;
mod headers_first;
mod moderation;
mod outages;
mod overtime;
mod refusals;
mod refused_fields;
mod router;
mod routing;
mod strays;
mod streams;
mod trailers;
mod validation;

use core::time::Duration;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Body, Call as Callout, CallAnswer, Edit, Effects, Ending, Exchange, Flow, Gateway, Reply, RequestHead,
    ResponseHead, Step, Turn, Way,
};
use crate::body::cache::Schemas;
use crate::failover::Load;
use crate::headers::Headers;
use crate::ledger::{HashKey, Ledger};
use crate::policy;
use crate::store::MemoryStore;
use crate::time::{Instant, Now, UnixMillis};
use crate::tokens::exact::Counter;

const OPENAI_KEY: &str = "sk-s3cr3t-openai";
const CALLER_KEYS: &str = "alice=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// The host: a gateway, a store, a clock that stands still unless moved, and all that was counted.
struct Lab {
    gateway: Gateway,
    store: MemoryStore,
    now: Now,
    effects: Effects,
    counter: Counter,
    schemas: Schemas,
    load: Load,
    properties: BTreeMap<String, String>,
}

/// A policy that holds headers, with what `changes` puts over it, member by member.
fn document(changes: Value) -> Value {
    let mut document = json!({
        "version": 1,
        "host": {"body_pause": true},
        "callers": [
            {"bearer": "known", "keys": {"env": "CALLER_KEYS"}},
            {"header": "x-tenant", "trusted": true},
        ],
        "attributes": {"team": {"header": "x-team", "trusted": true, "missing": "none"}},
        "providers": {
            "openai": {
                "cluster": "openai", "dialect": "openai", "authority": "api.openai.com",
                "credential": {"env": "OPENAI_API_KEY"},
                "models": {"gpt-4o": {"tokenizer": "o200k", "context": 128_000}, "gpt-4o-mini": {"context": 128_000}},
                "breaker": {"consecutive": 2},
            },
            "backup": {
                "cluster": "backup", "dialect": "openai", "models": {"gpt-4o": {"context": 128_000}},
            },
            "anthropic": {
                "cluster": "anthropic", "dialect": "anthropic", "path_prefix": "/proxied",
                "models": {"claude": {"context": 200_000}},
            },
        },
        "models": {
            "gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o"]},
            "gpt-4o-mini": {"chain": ["openai/gpt-4o-mini"]},
            "claude": {"chain": ["anthropic/claude"]},
        },
        "limits": [{"name": "tokens", "per": ["caller"], "tokens": "10000/min"}],
    });
    merge(&mut document, changes);
    document
}

/// Objects are merged, everything else replaced.
fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, value) in changes {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes,
    }
}

impl Lab {
    fn new(changes: Value) -> Self {
        let environment = BTreeMap::from(
            [
                ("OPENAI_API_KEY", OPENAI_KEY),
                ("CALLER_KEYS", CALLER_KEYS),
                ("SPILLWAY_HASH_KEY", "test"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let policy = policy::load(&document(changes).to_string(), &environment).unwrap();
        let ledger = Ledger::new(HashKey::from_text("test"), policy.tracked_keys);
        Self {
            gateway: Gateway::new(policy, ledger),
            store: MemoryStore::default(),
            now: Now {
                monotonic: Instant(1_000_000_000_000),
                wall: UnixMillis(1_795_248_000_000),
            },
            effects: Effects::default(),
            counter: Counter::new(),
            schemas: Schemas::default(),
            load: Load::default(),
            properties: BTreeMap::new(),
        }
    }

    /// As [`Lab::new`], on a host that can't hold headers.
    fn headers_first(changes: Value) -> Self {
        let mut document = json!({"host": {"body_pause": false, "model_header": "x-model"}});
        merge(&mut document, changes);
        Self::new(document)
    }

    fn later(&mut self, span: Duration) {
        self.now.monotonic = self.now.monotonic.after(span);
    }

    fn turn<T>(&mut self, run: impl FnOnce(&mut Turn<'_, MemoryStore>) -> T) -> T {
        let mut turn = Turn {
            gateway: &self.gateway,
            store: &self.store,
            now: self.now,
            entropy: 7,
            counter: &mut self.counter,
            load: self.load,
            schemas: &mut self.schemas,
            effects: &mut self.effects,
        };
        run(&mut turn)
    }

    /// How often, or how much, was counted under a name.
    fn metric(&self, name: &str) -> u64 {
        let counted = self.effects.metrics.iter();
        counted
            .filter(|(metric, _)| metric.name(&self.gateway.policy) == name)
            .map(|(_, value)| value)
            .sum()
    }

    /// What a tenant has used of the first limit, in its unit.
    fn used(&self, tenant: &str) -> u64 {
        let limit = &self.gateway.policy.limits[0];
        let id = format!("header:{tenant}").into_bytes();
        let key = self.gateway.ledger.key(limit, &id, &[&id]);
        let level = self
            .gateway
            .ledger
            .level(&self.store, limit, key, self.now.monotonic);
        level.capacity - level.remaining
    }

    /// What has been used of a provider's first limit, in its unit.
    fn granted(&self, name: &str) -> u64 {
        let mut providers = self.gateway.policy.providers.iter();
        let limit = &providers.find(|p| p.name == name).unwrap().limits[0];
        let id = name.as_bytes();
        let key = self.gateway.ledger.key(limit, id, &[id]);
        let level = self
            .gateway
            .ledger
            .level(&self.store, limit, key, self.now.monotonic);
        level.capacity - level.remaining
    }

    /// Sends a request to its end, or to where it is refused.
    fn send(&mut self, request: &Request) -> Call {
        let mut call = Call::begin(self, request);
        let count = request.body.len();
        for (at, chunk) in request.body.iter().enumerate() {
            if call.reply.is_none() {
                call.upload(self, chunk, at + 1 == count);
            }
        }
        call
    }

    /// A request that is answered whole.
    fn exchange(&mut self, request: &Request, status: u16, body: &str) -> Call {
        let mut call = self.send(request);
        assert!(call.reply.is_none(), "{:?}", call.reply);
        call.answer(self, status, body);
        call
    }
}

#[derive(Clone, Debug)]
struct Request {
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<Vec<u8>>,
}

impl Request {
    fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = [
            (":method", "POST"),
            (":path", path),
            (":authority", "gateway.test"),
            ("content-type", "application/json"),
            ("content-length", &body.len().to_string()),
        ];
        Self {
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into()))
                .to_vec(),
            body: vec![body],
        }
        .with("x-tenant", "acme")
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }
}

/// A chat of `acme`'s with more members in its body.
fn chat(more: Value) -> Request {
    let mut body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "private words"}]});
    merge(&mut body, more);
    Request::post("/v1/chat/completions", body.to_string())
}

/// A message of `acme`'s in Anthropic's dialect.
fn message(more: Value) -> Request {
    let mut body = json!({"model": "claude", "max_tokens": 100,
        "messages": [{"role": "user", "content": "private words"}]});
    merge(&mut body, more);
    Request::post("/v1/messages", body.to_string())
}

/// A whole chat answer.
fn answered(text: &str, input: u64, output: u64) -> String {
    json!({
        "id": "chatcmpl-1", "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
    })
    .to_string()
}

/// One chunk of a streamed chat: words, or why it finished.
fn delta(words: &str, reason: Option<&str>) -> String {
    let chunk = json!({"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": {"content": words}, "finish_reason": reason}]});
    format!("data: {chunk}\n\n")
}

/// The chunk that carries usage alone.
fn usage(input: u64, output: u64) -> String {
    let chunk = json!({"id": "chatcmpl-1", "choices": [],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}});
    format!("data: {chunk}\n\n")
}

const DONE: &str = "data: [DONE]\n\n";

/// One exchange as client and provider see it.
struct Call {
    exchange: Exchange,
    /// What goes to the provider; before its body was judged, what has gone.
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    buffered: Vec<u8>,
    /// The host holds the body.
    holds: bool,
    /// An answer of our own.
    reply: Option<Reply>,
    /// Further calls made at the same time.
    more: Vec<Callout>,
    /// A call that it waits for.
    call: Option<Callout>,
    /// What the client gets of the provider's answer.
    answer_headers: Vec<(String, Vec<u8>)>,
    answer: Vec<u8>,
}

impl Call {
    fn begin(lab: &mut Lab, request: &Request) -> Self {
        let mut call = Self {
            exchange: Exchange::Start,
            headers: request.headers.clone(),
            body: Vec::new(),
            buffered: Vec::new(),
            holds: false,
            reply: None,
            call: None,
            more: Vec::new(),
            answer_headers: Vec::new(),
            answer: Vec::new(),
        };
        let headers: Headers = request.headers.iter().cloned().collect();
        let properties = lab.properties.clone();
        let head = RequestHead {
            headers: &headers,
            end: request.body.is_empty(),
            property: &|path| properties.get(&path.join(".")).map(|value| value.clone().into()),
        };
        let step = call.run(lab, |exchange, turn| exchange.request_headers(turn, &head));
        edit(&mut call.headers, &step.edits);
        call.take_reply(step.flow);
        call
    }

    fn run(
        &mut self,
        lab: &mut Lab,
        run: impl FnOnce(Exchange, &mut Turn<'_, MemoryStore>) -> (Exchange, Step),
    ) -> Step {
        let exchange = core::mem::take(&mut self.exchange);
        let (exchange, step) = lab.turn(|turn| run(exchange, turn));
        self.exchange = exchange;
        step
    }

    fn take_reply(&mut self, flow: Flow) {
        match flow {
            Flow::Reply(reply) => self.reply = Some(reply),
            Flow::Calls(mut calls) => {
                self.more = calls.split_off(1);
                self.call = calls.pop();
            }
            Flow::Continue | Flow::Hold | Flow::Resume(_) => {}
        }
    }

    /// What the host does out of turn: answers, or lets go on what it held.
    fn out_of_turn(&mut self, step: Step) {
        if let Flow::Resume(resume) = step.flow {
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
        self.take_reply(step.flow);
    }

    /// The host buffers what is held, and shows all of it.
    fn part(
        &mut self,
        lab: &mut Lab,
        chunk: (&[u8], bool),
        run: impl FnOnce(Exchange, &mut Turn<'_, MemoryStore>, &Body<'_>) -> (Exchange, Step),
    ) -> (Vec<u8>, Step) {
        self.buffered.extend_from_slice(chunk.0);
        let bytes = core::mem::take(&mut self.buffered);
        let body = Body {
            size: bytes.len(),
            end: chunk.1,
            read: &|start, max| bytes[start..].iter().copied().take(max).collect(),
        };
        let mut step = self.run(lab, |exchange, turn| run(exchange, turn, &body));
        let out = step.body.take().unwrap_or(bytes);
        self.holds = matches!(step.flow, Flow::Hold | Flow::Calls(_));
        if self.holds {
            self.buffered = out;
            return (Vec::new(), step);
        }
        (out, step)
    }

    fn upload(&mut self, lab: &mut Lab, chunk: &[u8], end: bool) {
        let (out, step) = self.part(lab, (chunk, end), |exchange, turn, body| {
            exchange.request_body(turn, body)
        });
        self.body.extend(out);
        edit(&mut self.headers, &step.edits);
        self.take_reply(step.flow);
    }

    fn respond(&mut self, lab: &mut Lab, status: u16, headers: &[(&str, &str)], end: bool) {
        let status = status.to_string();
        let fields = [(":status", status.as_str())];
        let fields = fields.iter().chain(headers);
        self.answer_headers = fields
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let headers: Headers = self.answer_headers.iter().cloned().collect();
        let properties = lab.properties.clone();
        let head = ResponseHead {
            headers: &headers,
            end,
            property: &|path| properties.get(&path.join(".")).map(|value| value.clone().into()),
        };
        let step = self.run(lab, |exchange, turn| exchange.response_headers(turn, &head));
        edit(&mut self.answer_headers, &step.edits);
        self.take_reply(step.flow);
    }

    fn chunk(&mut self, lab: &mut Lab, chunk: &str, end: bool) {
        let (out, step) = self.part(lab, (chunk.as_bytes(), end), |exchange, turn, body| {
            exchange.response_body(turn, body)
        });
        self.answer.extend(out);
        edit(&mut self.answer_headers, &step.edits);
        self.take_reply(step.flow);
    }

    /// What came of the call.
    fn called(&mut self, lab: &mut Lab, answer: CallAnswer) {
        self.called_of(lab, 0, answer);
    }

    /// What came of one of several.
    fn called_of(&mut self, lab: &mut Lab, of: usize, answer: CallAnswer) {
        let step = self.run(lab, |exchange, turn| exchange.called(turn, of, answer));
        self.out_of_turn(step);
    }

    /// The tick comes.
    fn wake(&mut self, lab: &mut Lab) {
        let step = self.run(lab, Exchange::woken);
        self.out_of_turn(step);
    }

    /// The answer ends in trailers, beside which the host lets only be changed what it holds.
    fn trailers(&mut self, lab: &mut Lab) -> Step {
        let holds = self.holds;
        let (out, step) = self.part(lab, (b"", true), |exchange, turn, body| {
            exchange.response_trailers(turn, holds.then_some(body))
        });
        assert!(
            holds || out.is_empty(),
            "nothing can be written: {:?}",
            String::from_utf8(out)
        );
        self.answer.extend(out);
        edit(&mut self.answer_headers, &step.edits);
        self.take_reply(step.flow.clone());
        step
    }

    /// A whole JSON answer.
    fn answer(&mut self, lab: &mut Lab, status: u16, body: &str) {
        self.respond(lab, status, &[("content-type", "application/json")], false);
        self.chunk(lab, body, true);
    }

    /// A stream's beginning.
    fn stream(&mut self, lab: &mut Lab, events: &[&str]) {
        self.respond(lab, 200, &[("content-type", "text/event-stream")], false);
        for event in events {
            self.chunk(lab, event, false);
        }
    }

    /// The exchange's end, and its record.
    fn end(self, lab: &mut Lab, ending: Ending) -> Value {
        let exchange = self.exchange;
        let record = lab.turn(|turn| exchange.end(turn, ending));
        record.map_or(Value::Null, |record| {
            serde_json::from_slice(&record.to_json()).unwrap()
        })
    }

    fn record(self, lab: &mut Lab) -> Value {
        self.end(lab, Ending::Complete)
    }

    fn header(&self, name: &str) -> Option<String> {
        find(&self.headers, name)
    }

    fn answer_header(&self, name: &str) -> Option<String> {
        find(&self.answer_headers, name)
    }

    fn answer_text(&self) -> String {
        String::from_utf8(self.answer.clone()).unwrap()
    }

    fn body_json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status of our own answer.
    fn refused(&self) -> Option<u16> {
        self.reply.as_ref().map(|reply| reply.status)
    }

    fn reply_header(&self, name: &str) -> Option<String> {
        let headers = &self.reply.as_ref()?.headers;
        let found = headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.to_string())
    }

    fn reply_json(&self) -> Value {
        serde_json::from_slice(&self.reply.as_ref().unwrap().body).unwrap()
    }
}

fn find(headers: &[(String, Vec<u8>)], name: &str) -> Option<String> {
    let found = headers.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
}

fn edit(headers: &mut Vec<(String, Vec<u8>)>, edits: &[Edit]) {
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
