//! An attempt's request: everything of another provider out, everything of this one in.

use crate::breaker::{Breakers, Pass, Permit};
use crate::dialect::{Edits, Endpoint, rewrite, scan};
use crate::policy::{Hop, Policy, Provider, ProviderModel};
use crate::store::Store;
use crate::translate;

use super::super::ahead::provider_edits;
use super::super::foreign::{self, Pair, is_protocol_header};
use super::super::settle::note_transition;
use super::super::{Body, Edit, Flow, Gateway, Reply, RequestHead, Step, Turn};
use super::order::begun;
use super::{Attempt, Going, Order};

/// The property that names an endpoint's provider.
const PROVIDER: [&str; 5] = [
    "xds",
    "upstream_host_metadata",
    "filter_metadata",
    "spillway",
    "provider",
];

/// Finds out where this attempt goes, and makes it that provider's.
pub(super) fn begin<S: Store>(turn: &mut Turn<'_, S>, head: &RequestHead<'_>) -> (Attempt, Step) {
    let order = (head.property)(&["filter_state", "wasm.spillway.order"]);
    let Some(order) = order.as_deref().and_then(Order::of) else {
        return (Attempt::Over, Step::pass());
    };
    let going = Going::of(turn, head, order);
    let Some(mut going) = going else {
        return (Attempt::Over, Step::reply(misplaced()));
    };
    let edits = going.edits(turn.gateway, head);
    if going.sends_as_it_is(&turn.gateway.policy) {
        return (Attempt::Sent(Box::new(going)), Step::edited(edits));
    }
    going.edits = edits;
    (Attempt::Preparing(Box::new(going)), Step::hold())
}

/// The endpoint has no metadata that names a provider of the order: nobody knows whose credential it should see.
fn misplaced() -> Reply {
    let body =
        br#"{"error":{"type":"server_error","message":"the proxy doesn't know this endpoint's provider"}}"#;
    Reply {
        status: 500,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_vec(),
        details: "spillway_endpoint",
    }
}

impl Going {
    fn of<S: Store>(turn: &mut Turn<'_, S>, head: &RequestHead<'_>, order: Order) -> Option<Self> {
        let provider = String::from_utf8((head.property)(&PROVIDER)?).ok()?;
        let number = attempt_number(head);
        let place = order.place(&provider, number)?.clone();
        let hop = place.hop(&turn.gateway.policy)?;
        let endpoint = order.endpoint()?;
        let pair = Pair::of(endpoint, turn.gateway.policy.providers.get(hop.provider)?);
        let pass = pass(turn, &order, (hop, number))?;
        Some(Self {
            order,
            endpoint,
            hop,
            place,
            number,
            turned: pass.transitions().map(|turn| turn.to.as_str()).collect(),
            pass,
            sent: turn.now.monotonic,
            pair,
            dropped: Vec::new(),
            edits: Vec::new(),
        })
    }

    /// Whatever earlier attempts or the client left that isn't for this provider goes; what it must see is set.
    fn edits(&self, gateway: &Gateway, head: &RequestHead<'_>) -> Vec<Edit> {
        let stops = |name: &[u8]| gateway.is_identity(name) || is_internal(name) || is_protocol_header(name);
        let names = head.headers.iter().map(|(name, _)| name);
        let mut edits: Vec<Edit> = names.filter(|name| stops(name)).map(Edit::remove).collect();
        if let Some(provider) = self.provider(&gateway.policy) {
            let authority = provider.authority.as_ref().unwrap_or(&self.order.authority);
            edits.push(Edit::set(":authority", authority.clone()));
            let at = (provider, self.place.model.as_str());
            let path = foreign::path(self.endpoint, &self.order.path, at, self.order.stream);
            let path = path.unwrap_or_else(|| self.order.path.clone());
            edits.push(Edit::set(":path", path.clone()));
            edits.extend(self.protocol_edits(gateway));
            edits.extend(provider_edits(provider, &path));
        }
        edits
    }

    /// The client's own headers for who speaks its protocol; for others what theirs needs.
    fn protocol_edits(&self, gateway: &Gateway) -> Vec<Edit> {
        match self.pair {
            None => {
                let route = gateway.route(&self.order.model);
                let is_meant =
                    |name: &str| route.is_some_and(|route| foreign::is_meant_for(name, route, self.hop));
                let own = self.order.headers.iter().filter(|(name, _)| is_meant(name));
                own.map(|(name, value)| Edit::set(name.clone(), value.clone()))
                    .collect()
            }
            Some(pair) => {
                let needed = translate::headers(pair.provider).iter();
                needed.map(|(name, value)| Edit::set(*name, *value)).collect()
            }
        }
    }

    fn provider<'p>(&self, policy: &'p Policy) -> Option<&'p Provider> {
        policy.providers.get(self.hop.provider)
    }

    /// Whether the client's body is this provider's already, so that nobody has to read it once more. Later attempts are
    /// looked at: one before may have left the length of another body.
    fn sends_as_it_is(&self, policy: &Policy) -> bool {
        let renamed = self.place.model != self.order.asked;
        let takes_all = self.model(policy).is_some_and(|model| model.refuses.is_empty());
        self.number == 1 && self.pair.is_none() && takes_all && !renamed && !self.injects_usage(policy)
    }

    fn injects_usage(&self, policy: &Policy) -> bool {
        let speaks = matches!(self.endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        let wanted = self
            .provider(policy)
            .is_some_and(|provider| provider.include_usage);
        speaks && wanted && self.order.asks_usage
    }

    /// Writes the client's body as this provider wants it.
    pub(super) fn body<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Attempt, Step) {
        if !body.end {
            return (Attempt::Preparing(self), Step::hold());
        }
        let mut edits = core::mem::take(&mut self.edits);
        let bytes = body.whole();
        let written = match self.pair {
            None => self.written(&turn.gateway.policy, &bytes),
            Some(pair) => {
                let model = self.model(&turn.gateway.policy);
                let translated = model.and_then(|model| pair.request(&bytes, model, self.order.stream));
                let Some(translated) = translated else {
                    // Judged possible before it went out: the roles' policies differ.
                    let attempt = Attempt::Over;
                    return (attempt, Step::reply(misplaced()));
                };
                self.dropped = translated.dropped;
                Some(translated.body)
            }
        };
        let length = written.as_ref().map_or(bytes.len(), Vec::len);
        edits.push(Edit::set("content-length", length.to_string()));
        self.sent = turn.now.monotonic;
        let step = Step {
            edits,
            body: written,
            flow: Flow::Continue,
        };
        (Attempt::Sent(self), step)
    }

    fn model<'p>(&self, policy: &'p Policy) -> Option<&'p ProviderModel> {
        self.provider(policy)?.models.get(self.hop.model)
    }

    /// The body in this provider's words; none when it is the client's own.
    fn written(&mut self, policy: &Policy, bytes: &[u8]) -> Option<Vec<u8>> {
        let facts = scan(self.endpoint, bytes).ok()?;
        let edits = Edits {
            model: Some(self.place.model.as_str()),
            include_usage: self.injects_usage(policy),
        };
        let body = rewrite(bytes, &facts, edits);
        let sent = body.as_deref().unwrap_or(bytes);
        match foreign::without_refused(policy, (self.endpoint, self.hop), sent) {
            None => body,
            Some(fitted) => {
                self.dropped = fitted.dropped;
                Some(fitted.body)
            }
        }
    }
}

/// Headers between the roles and the router.
fn is_internal(name: &[u8]) -> bool {
    name.starts_with(b"x-spillway-") || name.starts_with(b"x-envoy-")
}

fn attempt_number(head: &RequestHead<'_>) -> u32 {
    let header = head.headers.first("x-envoy-attempt-count");
    let number = header.and_then(|value| core::str::from_utf8(value).ok()?.parse().ok());
    number.or_else(|| begun(head.property)).unwrap_or(1)
}

/// The first candidate's pass came with the order; later ones ask for theirs. An attempt that its breaker wouldn't let go
/// goes all the same, uncounted: it can't be refused here.
fn pass<S: Store>(turn: &mut Turn<'_, S>, order: &Order, (hop, number): (Hop, u32)) -> Option<Pass> {
    let breakers: Breakers<'_> = turn.gateway.breakers(hop.provider)?;
    let first = order
        .places
        .first()
        .and_then(|place| place.hop(&turn.gateway.policy));
    if number == 1 && first == Some(hop) {
        return Some(Pass::unpack(&order.pass).unwrap_or_else(|| breakers.force_pass(hop.model)));
    }
    match breakers.ask(turn.store, hop.model, turn.now.monotonic, turn.entropy) {
        Permit::NotNow { .. } => Some(breakers.force_pass(hop.model)),
        Permit::Go(pass) => {
            for transition in pass.transitions() {
                note_transition(turn, hop, transition);
            }
            Some(pass)
        }
    }
}
