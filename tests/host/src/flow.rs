//! How a stream moves through the proxy: Envoy's rules for phases, pausing, buffering, local replies and resets.
//!
//! Every function takes the stream one step and does what the module asked for meanwhile. A stream that is over is left
//! alone, so steps may come in any order.

use std::sync::{Arc, MutexGuard};

use crate::callout::{Arrived, CalloutAnswer};
use crate::headers::Headers;
use crate::message::{End, UpstreamRequest};
use crate::stream::{After, Direction, LocalReply, Stream, StreamRef};
use crate::vm::{Dead, Verdict, Vm};

fn locked(stream: &StreamRef) -> MutexGuard<'_, Stream> {
    stream.lock().expect("stream")
}

fn over(stream: &StreamRef) -> bool {
    locked(stream).done
}

fn as_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Vm {
    /// The client's headers arrive.
    pub(crate) fn request_headers(&mut self, stream: &StreamRef, headers: Headers, end: bool) {
        locked(stream).request.headers = headers;
        if self.create_context(stream).is_err() {
            return self.fail(stream);
        }
        self.headers_arrive(stream, Direction::Request, end);
    }

    /// Some of the client's body arrives.
    pub(crate) fn request_body(&mut self, stream: &StreamRef, bytes: &[u8], end: bool) {
        if !locked(stream).replied {
            self.body_arrives(stream, Direction::Request, bytes, end);
        }
    }

    /// The upstream's headers arrive.
    pub(crate) fn response_headers(&mut self, stream: &StreamRef, headers: Headers, end: bool) {
        if locked(stream).replied || over(stream) {
            return;
        }
        {
            let mut stream = locked(stream);
            stream.response.headers = headers;
            stream.details.get_or_insert_with(|| "via_upstream".to_owned());
        }
        self.headers_arrive(stream, Direction::Response, end);
    }

    /// Some of the upstream's body arrives.
    pub(crate) fn response_body(&mut self, stream: &StreamRef, bytes: &[u8], end: bool) {
        if !locked(stream).replied {
            self.body_arrives(stream, Direction::Response, bytes, end);
        }
    }

    /// The upstream's connection breaks: a 503 if no answer had begun, a reset otherwise.
    pub(crate) fn upstream_reset(&mut self, stream: &StreamRef, reason: &str) {
        if over(stream) || locked(stream).replied {
            return;
        }
        let reason_word = reason.replace(' ', "_");
        if locked(stream).response.arrived {
            return self.break_off(
                stream,
                format!("upstream_reset_after_response_started{{{reason_word}}}"),
            );
        }
        let body =
            format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
        let details = format!("upstream_reset_before_response_started{{{reason_word}}}");
        self.reply(stream, LocalReply::of_proxy(503, &body, &details));
    }

    /// The route's timeout passes.
    pub(crate) fn upstream_timeout(&mut self, stream: &StreamRef) {
        if over(stream) || locked(stream).replied {
            return;
        }
        if locked(stream).response.arrived {
            return self.break_off(stream, "response_timeout".to_owned());
        }
        self.reply(
            stream,
            LocalReply::of_proxy(504, "upstream request timeout", "response_timeout"),
        );
    }

    /// An answer that has begun ends before its time.
    fn break_off(&mut self, stream: &StreamRef, details: String) {
        locked(stream).details = Some(details);
        self.reset(stream);
    }

    /// The client goes away.
    pub(crate) fn client_gone(&mut self, stream: &StreamRef) {
        {
            let mut stream = locked(stream);
            if !stream.done {
                stream.aborted = true;
                stream.details = Some("downstream_remote_disconnect".to_owned());
            }
        }
        self.finish(stream);
    }

    /// The end of the stream: log, done, delete. Calls on their way are cancelled.
    pub(crate) fn finish(&mut self, stream: &StreamRef) {
        let (id, known) = {
            let mut stream = locked(stream);
            if std::mem::replace(&mut stream.done, true) {
                return;
            }
            stream.request.lent = false;
            stream.response.lent = false;
            stream.logging = true;
            (stream.id, self.store.data().streams.contains_key(&stream.id))
        };
        self.store.data_mut().callouts.retain(|call| call.context != id);
        if known {
            let _ = self.log(id).and_then(|()| self.delete_context(id));
        }
        self.store.data_mut().streams.remove(&id);
        self.store
            .data_mut()
            .after
            .retain(|(other, _)| !Arc::ptr_eq(other, stream));
        locked(stream).logging = false;
        self.perform_asked();
    }

    /// A tick of the root context.
    pub(crate) fn on_tick(&mut self) {
        if self.tick().is_ok() {
            self.perform_asked();
        }
    }

    /// Brings a callout's answer; `false` when it isn't pending.
    pub(crate) fn answer(&mut self, token: u32, answer: CalloutAnswer) -> bool {
        let calls = &mut self.store.data_mut().callouts;
        let Some(at) = calls.iter().position(|call| call.token == token) else {
            return false;
        };
        let Some(arrived) = Arrived::from(answer) else {
            return true;
        };
        calls.remove(at);
        self.deliver(token, arrived);
        true
    }

    /// Ends the callouts whose time has passed, each with a 504.
    pub(crate) fn time_out_callouts(&mut self) {
        let now = self.store.data().shared.clock.monotonic();
        let due = |deadline: Option<std::time::Duration>| deadline.is_some_and(|deadline| deadline <= now);
        while let Some(at) = self
            .store
            .data()
            .callouts
            .iter()
            .position(|call| due(call.deadline))
        {
            let call = self.store.data_mut().callouts.remove(at);
            self.deliver(call.token, Arrived::timeout());
        }
    }

    fn deliver(&mut self, token: u32, arrived: Arrived) {
        if self.call_answered(token, arrived).is_ok() {
            self.perform_asked();
        }
    }

    fn headers_arrive(&mut self, stream: &StreamRef, direction: Direction, end: bool) {
        let (id, count) = {
            let mut stream = locked(stream);
            let side = stream.side(direction);
            (side.arrived, side.lent, side.ended) = (true, true, end);
            (stream.id, as_u32(stream.side(direction).headers.len()))
        };
        match self.headers(direction, id, count, end) {
            Err(Dead) => return self.fail(stream),
            Ok(Verdict::Continue) => self.pass_headers(stream, direction),
            Ok(Verdict::Pause) => {
                let body_follows = self.store.data().shared.settings.body_pause;
                locked(stream).side(direction).stopped = !body_follows;
            }
            Ok(Verdict::Replied) => locked(stream).side(direction).stopped = true,
        }
        self.perform_asked();
    }

    fn body_arrives(&mut self, stream: &StreamRef, direction: Direction, bytes: &[u8], end: bool) {
        if over(stream) {
            return;
        }
        let (stopped, buffering) = {
            let mut stream = locked(stream);
            let side = stream.side(direction);
            side.body_arrived = true;
            side.ended |= end;
            side.buffer.extend_from_slice(bytes);
            (side.stopped, side.buffering)
        };
        if stopped {
            return;
        }
        if buffering && self.too_large(stream, direction) {
            return self.overflow(stream, direction);
        }
        self.body_callback(stream, direction, end);
        self.perform_asked();
    }

    fn body_callback(&mut self, stream: &StreamRef, direction: Direction, end: bool) {
        let (id, size) = {
            let mut stream = locked(stream);
            let side = stream.side(direction);
            side.in_body = true;
            (stream.id, as_u32(stream.side(direction).buffer.len()))
        };
        let verdict = self.body(direction, id, size, end);
        locked(stream).side(direction).in_body = false;
        match verdict {
            Err(Dead) => self.fail(stream),
            Ok(Verdict::Continue) => self.pass_body(stream, direction),
            Ok(Verdict::Pause) => {
                locked(stream).side(direction).buffering = true;
                if self.too_large(stream, direction) {
                    self.overflow(stream, direction);
                }
            }
            Ok(Verdict::Replied) => locked(stream).side(direction).stopped = true,
        }
    }

    fn too_large(&self, stream: &StreamRef, direction: Direction) -> bool {
        let settings = &self.store.data().shared.settings;
        let limit = match direction {
            Direction::Request => settings.request_buffer,
            Direction::Response => settings.response_buffer,
        };
        locked(stream).side(direction).buffer.len() > limit
    }

    /// More was paused than the buffer limit allows.
    fn overflow(&mut self, stream: &StreamRef, direction: Direction) {
        let answered = locked(stream).client.status.is_some();
        match (direction, answered) {
            (Direction::Request, _) => {
                self.reply(
                    stream,
                    LocalReply::of_proxy(413, "Payload Too Large", "request_payload_too_large"),
                );
            }
            (Direction::Response, false) => {
                self.reply(
                    stream,
                    LocalReply::of_proxy(500, "Internal Server Error", "response_payload_too_large"),
                );
            }
            (Direction::Response, true) => self.reset(stream),
        }
    }

    /// The headers go on: to the upstream that they name, or to the client.
    fn pass_headers(&mut self, stream: &StreamRef, direction: Direction) {
        let mut held = locked(stream);
        let side = held.side(direction);
        side.lent = false;
        if std::mem::replace(&mut side.passed, true) {
            return;
        }
        let complete = side.ended && !side.body_arrived;
        let headers = side.headers.clone();
        match direction {
            Direction::Request => {
                let cluster = headers.get(&self.store.data().shared.settings.cluster_header);
                held.upstream = Some(UpstreamRequest {
                    cluster,
                    headers,
                    body: Vec::new(),
                    complete,
                });
            }
            Direction::Response => {
                held.client.status = Some(headers.status().unwrap_or(0));
                held.client.headers = headers;
                if complete {
                    held.client.complete();
                    drop(held);
                    self.finish(stream);
                }
            }
        }
    }

    /// What the body callback saw goes on, headers before it.
    fn pass_body(&mut self, stream: &StreamRef, direction: Direction) {
        self.pass_headers(stream, direction);
        let mut held = locked(stream);
        let side = held.side(direction);
        side.buffering = false;
        let bytes = std::mem::take(&mut side.buffer);
        let ended = side.ended;
        match direction {
            Direction::Request => {
                if let Some(upstream) = &mut held.upstream {
                    upstream.body.extend_from_slice(&bytes);
                    upstream.complete = ended;
                }
            }
            Direction::Response => {
                held.client.body.extend_from_slice(&bytes);
                if !bytes.is_empty() {
                    held.client.chunks.push(bytes);
                }
                if ended {
                    held.client.complete();
                    drop(held);
                    self.finish(stream);
                }
            }
        }
    }

    /// The module lets a paused direction go on.
    fn resume(&mut self, stream: &StreamRef, direction: Direction) {
        if over(stream) || !locked(stream).side(direction).arrived {
            return;
        }
        let (stopped, body_arrived, buffering) = {
            let mut held = locked(stream);
            let side = held.side(direction);
            side.lent = false;
            (
                std::mem::take(&mut side.stopped),
                side.body_arrived,
                side.buffering,
            )
        };
        self.pass_headers(stream, direction);
        if stopped && body_arrived {
            let end = locked(stream).side(direction).ended;
            self.body_callback(stream, direction, end);
        } else if buffering {
            self.pass_body(stream, direction);
        }
    }

    /// A local reply: through the filter's own response callbacks if no response had arrived, straight to the client if
    /// one is held, and a reset if one has begun to go out.
    fn reply(&mut self, stream: &StreamRef, reply: LocalReply) {
        if over(stream) {
            return;
        }
        let (arrived, passed) = {
            let mut held = locked(stream);
            held.replied = true;
            held.details = Some(reply.details.clone());
            held.request.lent = false;
            (held.response.arrived, held.response.passed)
        };
        match (arrived, passed) {
            (_, true) => self.reset(stream),
            (true, false) => self.reply_directly(stream, reply),
            (false, false) => self.reply_through_the_filter(stream, reply),
        }
    }

    fn reply_directly(&mut self, stream: &StreamRef, reply: LocalReply) {
        {
            let mut held = locked(stream);
            held.response.lent = false;
            held.response.passed = true;
            held.response.headers = reply.headers.clone();
            held.client.status = reply.headers.status();
            held.client.headers = reply.headers;
            held.client.chunks.push(reply.body.clone());
            held.client.body = reply.body;
            held.client.complete();
        }
        self.finish(stream);
    }

    fn reply_through_the_filter(&mut self, stream: &StreamRef, reply: LocalReply) {
        locked(stream).response.headers = reply.headers;
        self.headers_arrive(stream, Direction::Response, reply.body.is_empty());
        if !reply.body.is_empty() {
            self.body_arrives(stream, Direction::Response, &reply.body, true);
        }
    }

    /// The stream breaks for the client.
    fn reset(&mut self, stream: &StreamRef) {
        if over(stream) {
            return;
        }
        locked(stream).client.end = End::Reset;
        self.finish(stream);
    }

    /// What a stream of a dead VM comes to: 503 if nothing went out, a reset otherwise.
    pub(crate) fn fail(&mut self, stream: &StreamRef) {
        if over(stream) {
            return;
        }
        if locked(stream).response.passed {
            return self.reset(stream);
        }
        self.reply_directly(stream, LocalReply::of_proxy(503, "", "wasm_fail_stream"));
    }

    /// Does what the last callback asked for.
    fn perform_asked(&mut self) {
        for (stream, after) in std::mem::take(&mut self.store.data_mut().after) {
            match after {
                After::Resume(direction) => self.resume(&stream, direction),
                After::Reply(reply) => self.reply(&stream, reply),
                After::Reset => self.reset(&stream),
            }
        }
    }
}
