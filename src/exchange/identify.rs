//! Who is asking, and for what kind of thing: all that headers tell.
//!
//! An identity that the client can choose is no identity: only known keys, headers that the policy trusts and claims
//! that the host verified name a caller. None of them travels on to a provider.

use core::time::Duration;

use crate::dialect::Endpoint;
use crate::headers::Headers;
use crate::ledger::{Demand, Request};
use crate::policy::{Anonymous, CallerRule, Policy, When, known};
use crate::report::Record;
use crate::report::metric::{Metric, Refused};
use crate::report::record::outside_name;
use crate::store::Store;

use super::ahead::Routed;
use super::foreign::{is_protocol_header, is_stray_header};
use super::gateway::Gateway;
use super::guarding::Watching;
use super::refuse::{Refusal, refuse};
use super::{Edit, Exchange, Step, Turn};

/// More headers of its protocol than this no client's library sends.
const MOST_PROTOCOL_HEADERS: usize = 16;
/// Prefix of the headers that are ours alone.
const OURS: &[u8] = b"x-spillway-";
/// A body larger than this is worth a look at the ledger before it is uploaded.
const LARGE_BODY: usize = 64 * 1024;

/// The request's headers, and the host's properties that a policy may name.
pub struct RequestHead<'a> {
    /// All headers.
    pub headers: &'a Headers,
    /// Whether no body follows.
    pub end: bool,
    /// Reads a property of the host by its path.
    pub property: &'a dyn Fn(&[&str]) -> Option<Vec<u8>>,
}

/// Whom a request is counted to.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    /// The caller, told apart by the rule that named it.
    pub(super) id: Vec<u8>,
    /// Values of the policy's attributes, index for index.
    pub(super) attributes: Vec<Vec<u8>>,
    /// The host's route.
    pub(super) route: Vec<u8>,
}

/// The caller is known; the body is being gathered.
#[derive(Debug)]
pub struct Identified {
    pub(super) endpoint: Endpoint,
    pub(super) who: Who,
    pub(super) path: String,
    /// Rules of the policy whose path and headers match.
    pub(super) rules: Vec<usize>,
    /// Guards of the policy whose path and headers match.
    pub(super) guards: Vec<usize>,
    /// What they look for in the answer, once the request is looked over.
    pub(super) watching: Option<Box<Watching>>,
    /// The body that goes on isn't the client's.
    pub(super) masked: bool,
    /// The client says that it tries again.
    pub(super) retry: bool,
    /// The client's `:authority`.
    pub(super) authority: String,
    /// The client's headers of its protocol, where an attempt may have to be given them again.
    pub(super) protocol_headers: Vec<(String, String)>,
    /// How long the client waits, by the headers that the policy names.
    pub(super) deadlines: Vec<(String, Duration)>,
    /// The model by the policy's header.
    pub(super) asked: Option<String>,
    /// What headers need before they go out.
    pub(super) edits: Vec<Edit>,
    /// Where it went already, when the body can't choose.
    pub(super) routed: Option<Routed>,
    pub(super) record: Box<Record>,
}

/// Reads the headers of a new request.
pub(super) fn identify<S: Store>(turn: &mut Turn<'_, S>, head: &RequestHead<'_>) -> (Exchange, Step) {
    let method = head.headers.first(":method").unwrap_or_default();
    let path = head.headers.first(":path").unwrap_or_default();
    let Some(endpoint) = Endpoint::of(method, path) else {
        turn.count(Metric::OtherPath);
        return (Exchange::Bypassed, Step::edited(without_ours(head.headers)));
    };
    turn.count(Metric::Exchange(endpoint));
    let record = Box::new(Record {
        endpoint: endpoint.as_str(),
        begun: turn.now.monotonic,
        ..Record::default()
    });
    let Some(who) = name_caller(turn, head) else {
        return refuse(turn, endpoint, record, Refusal::anonymous());
    };
    let state = Box::new(gather(
        turn,
        head,
        Known {
            endpoint,
            who,
            record,
        },
    ));
    state.headers(turn, head)
}

struct Known {
    endpoint: Endpoint,
    who: Who,
    record: Box<Record>,
}

fn gather<S: Store>(turn: &Turn<'_, S>, head: &RequestHead<'_>, known: Known) -> Identified {
    let path = String::from_utf8_lossy(head.headers.first(":path").unwrap_or_default()).into_owned();
    let policy = &turn.gateway.policy;
    let mut record = known.record;
    record.caller = caller_hash(turn.gateway, &known.who.id);
    Identified {
        endpoint: known.endpoint,
        rules: When::met(policy.validate.iter().map(|rule| &rule.when), &path, head.headers),
        guards: When::met(policy.guards.iter().map(|guard| &guard.when), &path, head.headers),
        watching: None,
        masked: false,
        path,
        retry: head
            .headers
            .first("x-stainless-retry-count")
            .is_some_and(|count| count != b"0"),
        authority: authority(turn.gateway, head.headers),
        protocol_headers: protocol_headers(turn.gateway, known.endpoint, head.headers),
        deadlines: deadlines(turn.gateway, head.headers),
        asked: model_header(&turn.gateway.policy, head.headers),
        edits: outgoing_edits(turn.gateway, known.endpoint, head.headers),
        routed: None,
        who: known.who,
        record,
    }
}

impl Identified {
    /// Decides what headers alone can decide.
    fn headers<S: Store>(
        self: Box<Self>,
        turn: &mut Turn<'_, S>,
        head: &RequestHead<'_>,
    ) -> (Exchange, Step) {
        if let Some(refused) = self.unreadable(turn, head) {
            return self.refuse_or_pass(turn, refused);
        }
        if let Some(refused) = self.used_up(turn, head) {
            return refuse(turn, self.endpoint, self.record, refused);
        }
        if turn.gateway.policy.host.body_pause {
            return (Exchange::Identified(self), Step::hold());
        }
        self.route_first(turn)
    }

    fn unreadable<S: Store>(&self, turn: &Turn<'_, S>, head: &RequestHead<'_>) -> Option<Refusal> {
        if head.end {
            return Some(Refusal::bad_request("the request has no body", "empty_body"));
        }
        if let Some(encoding) = head
            .headers
            .first("content-encoding")
            .filter(|e| *e != b"identity")
        {
            return Some(Refusal::encoded(&outside_name(&String::from_utf8_lossy(
                encoding,
            ))));
        }
        let bound = turn.gateway.policy.bounds.request_body;
        content_length(head.headers)
            .filter(|length| *length > bound)
            .map(|_| Refusal::oversize(bound))
    }

    /// Whether nothing is left for this caller, asked where it saves the upload or where the body comes too late.
    fn used_up<S: Store>(&self, turn: &Turn<'_, S>, head: &RequestHead<'_>) -> Option<Refusal> {
        let policy = &turn.gateway.policy;
        let small = content_length(head.headers).is_some_and(|length| length <= LARGE_BODY);
        if policy.host.body_pause && small {
            return None;
        }
        let model = self.asked.as_ref().and_then(|name| turn.gateway.route(name));
        let claims = turn
            .gateway
            .claims(&self.who, model.map(|m| m.name.as_str()), None);
        let demand = Demand {
            around: 1,
            ..Demand::default()
        };
        let request = Request {
            claims: &claims.claims,
            habit: None,
            demand,
            mode: policy.mode,
        };
        let refusal = turn
            .gateway
            .ledger
            .peek(turn.store, &request, turn.now.monotonic)?;
        Some(Refusal::limited(&claims, &refusal))
    }
}

/// The client's authority, where a provider without one of its own may have to be given it again.
fn authority(gateway: &Gateway, headers: &Headers) -> String {
    let authority = headers
        .first(":authority")
        .filter(|_| gateway.is_native() || gateway.calls_out());
    String::from_utf8_lossy(authority.unwrap_or_default()).into_owned()
}

/// The client's headers of its protocol, each name once: an attempt sets what it is given.
fn protocol_headers(gateway: &Gateway, endpoint: Endpoint, headers: &Headers) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    if !(gateway.is_native() || gateway.calls_out()) {
        return found;
    }
    let is_own = |name: &[u8]| {
        is_protocol_header(name) && !is_stray_header(name, endpoint.dialect()) && !gateway.is_identity(name)
    };
    let own = headers.iter().filter(|(name, _)| is_own(name));
    for (name, value) in own.take(MOST_PROTOCOL_HEADERS) {
        let [name, value] = [name, value].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = format!("{known},{value}"),
            None => found.push((name, value)),
        }
    }
    found
}

/// How long the client waits; what is no whole number of milliseconds says nothing.
fn deadlines(gateway: &Gateway, headers: &Headers) -> Vec<(String, Duration)> {
    let read = |name: &String| {
        let text = core::str::from_utf8(headers.first(name)?).ok()?;
        Some((name.clone(), Duration::from_millis(text.trim().parse().ok()?)))
    };
    gateway.deadlines().iter().filter_map(read).collect()
}

/// The name of the model by the policy's header, if there is one.
fn model_header(policy: &Policy, headers: &Headers) -> Option<String> {
    let value = headers.first(policy.host.model_header.as_deref()?)?;
    String::from_utf8(value.to_vec()).ok()
}

fn content_length(headers: &Headers) -> Option<usize> {
    core::str::from_utf8(headers.first("content-length")?)
        .ok()?
        .parse()
        .ok()
}

/// What a caller is called outside: a keyed hash.
pub(super) fn caller_hash(gateway: &Gateway, id: &[u8]) -> String {
    if id.is_empty() {
        return "anonymous".into();
    }
    format!("{:016x}", gateway.ledger.hash(&[b"caller", id]))
}

/// Names the caller, or `None` for one whom the policy rejects.
fn name_caller<S: Store>(turn: &mut Turn<'_, S>, head: &RequestHead<'_>) -> Option<Who> {
    let policy = &turn.gateway.policy;
    let named = policy.callers.iter().find_map(|rule| named_by(rule, head));
    if named.is_none() && policy.anonymous == Anonymous::Reject {
        if !turn.in_shadow() {
            return None;
        }
        turn.count(Metric::ShadowRefused(Refused::Anonymous));
    }
    let route = if turn.gateway.counts_routes() {
        (head.property)(&["xds", "route_name"])
    } else {
        None
    };
    let attributes = policy.attributes.iter().map(|attribute| {
        let value = head.headers.first(&attribute.header).filter(|v| !v.is_empty());
        value.unwrap_or(attribute.missing.as_bytes()).to_vec()
    });
    Some(Who {
        id: named.unwrap_or_default(),
        attributes: attributes.collect(),
        route: route.unwrap_or_default(),
    })
}

fn named_by(rule: &CallerRule, head: &RequestHead<'_>) -> Option<Vec<u8>> {
    match rule {
        CallerRule::Bearer(keys) => presented_keys(head.headers)
            .find_map(|key| known(keys, key))
            .map(|name| tagged("key", name.as_bytes())),
        CallerRule::Header(name) => head
            .headers
            .first(name)
            .filter(|v| !v.is_empty())
            .map(|value| tagged("header", value)),
        CallerRule::Jwt { path } => {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            (head.property)(&path)
                .filter(|v| !v.is_empty())
                .map(|claim| tagged("jwt", &claim))
        }
    }
}

/// A caller's name with the kind of rule that named it, so that no kind can pass for another.
fn tagged(kind: &str, name: &[u8]) -> Vec<u8> {
    [kind.as_bytes(), b":", name].concat()
}

fn presented_keys(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.first("authorization").and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme
            .eq_ignore_ascii_case(b"bearer ")
            .then_some(token.trim_ascii())
    });
    bearer.into_iter().chain(headers.first("x-api-key"))
}

/// What must change before anything goes to a provider: identities out, our own headers out, no compression.
fn outgoing_edits(gateway: &Gateway, endpoint: Endpoint, headers: &Headers) -> Vec<Edit> {
    let stops = |name: &[u8]| {
        name.starts_with(OURS)
            || gateway.is_identity(name)
            || gateway.is_steering(name)
            || is_stray_header(name, endpoint.dialect())
    };
    let mut edits: Vec<Edit> = headers
        .iter()
        .filter(|(name, _)| stops(name))
        .map(|(name, _)| Edit::remove(name))
        .collect();
    let encoding = headers.first("accept-encoding");
    if encoding.is_none_or(|encoding| encoding != b"identity") {
        edits.push(Edit::set("accept-encoding", "identity"));
    }
    edits
}

fn without_ours(headers: &Headers) -> Vec<Edit> {
    headers
        .iter()
        .filter(|(name, _)| name.starts_with(OURS))
        .map(|(name, _)| Edit::remove(name))
        .collect()
}
