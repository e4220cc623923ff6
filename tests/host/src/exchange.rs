//! One request and its answer, as a test drives it and looks at it.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::headers::Headers;
use crate::message::{Answer, End, Request, UpstreamEnd, UpstreamRequest, UpstreamResponse};
use crate::shared::Shared;
use crate::stream::{Stream, StreamRef};
use crate::vm::Vm;
use crate::worker::answer_by_script;

/// What became of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Still going on.
    Open,
    /// The client has a whole answer.
    Answered,
    /// The client's stream was reset.
    Reset,
    /// The client went away.
    Aborted,
    /// Nobody will ever move it on; the text says who waits for what.
    Hung(String),
}

/// A stream of one worker. All steps are total: one that comes too late does nothing.
pub struct Exchange {
    shared: Arc<Shared>,
    vm: Arc<Mutex<Vm>>,
    stream: StreamRef,
    expected_to_end: Mutex<bool>,
}

impl Exchange {
    pub(crate) fn new(shared: Arc<Shared>, vm: Arc<Mutex<Vm>>, stream: Stream) -> Self {
        Self {
            shared,
            vm,
            stream: Arc::new(Mutex::new(stream)),
            expected_to_end: Mutex::new(false),
        }
    }

    /// Sends the whole of a request, in its pieces.
    pub fn send(&self, request: &Request) {
        let events = request.events();
        self.send_headers(request, events.is_none());
        for (bytes, end) in events.unwrap_or_default() {
            self.send_body(&bytes, end);
        }
    }

    /// Sends the headers of a request; `end` when no body follows.
    pub fn send_headers(&self, request: &Request, end: bool) {
        {
            let mut stream = self.stream();
            for (path, value) in &request.properties {
                let path = String::from_utf8_lossy(path).into_owned();
                stream.properties.set(&[path.as_str()], value);
            }
        }
        let headers = request.sent_headers();
        self.step(|vm, stream| vm.request_headers(stream, headers, end));
    }

    /// Sends some of the body; `end` with the last of it, or after it with no bytes.
    pub fn send_body(&self, bytes: impl AsRef<[u8]>, end: bool) {
        self.step(|vm, stream| vm.request_body(stream, bytes.as_ref(), end));
    }

    /// The upstream answers, in its pieces.
    pub fn answer(&self, response: UpstreamResponse) {
        match response.end {
            UpstreamEnd::Never => return,
            UpstreamEnd::Refused => return self.refuse_connection(),
            UpstreamEnd::TimedOut => return self.time_out(),
            UpstreamEnd::Complete | UpstreamEnd::ResetAfterBody => {}
        }
        let breaks = response.end == UpstreamEnd::ResetAfterBody;
        let events = response.events();
        self.respond_headers(response.headers, events.is_none() && !breaks);
        for (bytes, end) in events.unwrap_or_default() {
            self.respond_body(&bytes, end && !breaks);
        }
        if breaks {
            self.reset_upstream();
        }
    }

    /// The upstream sends its headers; `end` when no body follows.
    pub fn respond_headers(&self, headers: Headers, end: bool) {
        self.step(|vm, stream| vm.response_headers(stream, headers, end));
    }

    /// The upstream sends some of its body; `end` with the last of it, or after it with no bytes.
    pub fn respond_body(&self, bytes: impl AsRef<[u8]>, end: bool) {
        let bytes = bytes.as_ref();
        if bytes.is_empty() && !end {
            return;
        }
        self.step(|vm, stream| vm.response_body(stream, bytes, end));
    }

    /// The upstream's connection breaks.
    pub fn reset_upstream(&self) {
        self.step(|vm, stream| vm.upstream_reset(stream, "connection termination"));
    }

    /// No connection to the upstream could be made.
    pub fn refuse_connection(&self) {
        self.step(|vm, stream| vm.upstream_reset(stream, "remote connection failure"));
    }

    /// The route's timeout passes.
    pub fn time_out(&self) {
        self.step(|vm, stream| vm.upstream_timeout(stream));
    }

    /// The client goes away.
    pub fn abort_client(&self) {
        self.step(|vm, stream| vm.client_gone(stream));
    }

    /// The answer as the client has it so far.
    #[must_use]
    pub fn client(&self) -> Answer {
        self.stream().client.clone()
    }

    /// The status the client got; 0 if none came.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.stream().client.status.unwrap_or(0)
    }

    /// A header of the client's answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.stream().client.headers.get(name)
    }

    /// The body of the client's answer, as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.stream().client.text()
    }

    /// The request as the upstream has it so far; `None` when nothing went out.
    #[must_use]
    pub fn upstream(&self) -> Option<UpstreamRequest> {
        self.stream().upstream.as_ref().map(UpstreamRequest::as_received)
    }

    /// Filter state that the module set under `key`.
    #[must_use]
    pub fn filter_state(&self, key: &str) -> Option<Vec<u8>> {
        self.stream().filter_state.get(key.as_bytes()).cloned()
    }

    /// `response.code_details`.
    #[must_use]
    pub fn details(&self) -> Option<String> {
        self.stream().details.clone()
    }

    /// Whether the answer isn't complete and nobody has given up.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.stream().done
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let stream = self.stream();
        match (stream.client.end, stream.aborted, stream.done) {
            (End::Waiting, _, _) => {
                Outcome::Hung("the client waits for the rest of content-length".to_owned())
            }
            (End::Reset, _, _) => Outcome::Reset,
            (End::Complete, _, _) => Outcome::Answered,
            (End::Open, true, _) => Outcome::Aborted,
            (End::Open, false, true) => Outcome::Reset,
            (End::Open, false, false) if *self.expected_to_end.lock().expect("exchange") => {
                Outcome::Hung(who_waits(&stream))
            }
            (End::Open, false, false) => Outcome::Open,
        }
    }

    /// From now on an open exchange counts as hung: everybody has said all they will say.
    pub(crate) fn expect_end(&self) {
        *self.expected_to_end.lock().expect("exchange") = true;
    }

    fn step(&self, go: impl FnOnce(&mut Vm, &StreamRef)) {
        {
            let mut vm = self.vm.lock().expect("vm");
            if vm.dead {
                vm.fail(&self.stream);
            } else {
                go(&mut vm, &self.stream);
            }
        }
        answer_by_script(&self.shared, &self.vm);
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().expect("stream")
    }
}

fn who_waits(stream: &Stream) -> String {
    let who = match &stream.upstream {
        _ if stream.response.arrived && stream.response.stopped => "the response is paused at its headers",
        _ if stream.response.arrived => "the response is paused in its body",
        None if stream.request.stopped => "the request is paused at its headers",
        None => "the request is paused in its body",
        Some(request) if !request.as_received().complete => "the upstream waits for the rest of the request",
        Some(_) => "the upstream doesn't answer",
    };
    who.to_owned()
}
