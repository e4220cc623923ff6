//! An answer that came by the host's router: whose it is, what the attempts before it cost, and what the client is told
//! when there is none.

use crate::dialect::{Endpoint, ErrorKind, error_body};
use crate::policy::{Exhausted, Policy};
use crate::store::Store;

use super::admit::Admitted;
use super::attempt::{begun, order_pass};
use super::foreign::Pair;
use super::relay::{Arrived, Relay, UnderWay};
use super::respond::ResponseHead;
use super::{Edit, Reply, Turn};

/// The header that names what of a request its answer's provider has no place for.
pub(super) const DROPPED: &str = "x-spillway-dropped";

impl Admitted {
    /// Takes over what the attempts handed back: who answers, since when, and whose breaker is still to be told. Answers
    /// what turns the attempt's changes to the answer back, the provider's own status first if an attempt changed it.
    pub(super) fn arrive<S: Store>(&mut self, turn: &mut Turn<'_, S>, head: &ResponseHead<'_>) -> Came {
        let Some(relay) = self.relay else {
            return Came::default();
        };
        let found = relay.arrived(&turn.gateway.policy, head);
        let mut edits = Vec::new();
        if let Some((hop, tried)) = found.answering() {
            self.fallback |= self.hop != *hop;
            self.hop = *hop;
            self.pass = tried.pass();
            self.sent = tried.began();
            self.record.provider.clone_from(&tried.place.provider);
            self.strip_usage = self.was_asked_for_usage(&turn.gateway.policy);
            let names: Vec<&str> = tried.dropped.iter().map(String::as_str).collect();
            edits.extend(dropped(&names));
        }
        self.take_note(turn, &found);
        if let Some(spent) = &mut self.spent {
            // The router's own words are nobody's answer.
            spent.idle = found.answering().is_none() && head.details() != b"via_upstream";
        }
        let status = found.status;
        edits.extend(status.map(|status| Edit::set(":status", status.to_string())));
        Came { status, edits }
    }

    /// Learns at the end, where no answer came, what became of the attempts.
    pub(super) fn recall<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        property: &dyn Fn(&[&str]) -> Option<Vec<u8>>,
    ) {
        if begun(property) == Some(0) {
            // The client went while another filter of the host's held the request: to be asked of the fleet, say.
            self.take_back(property);
            self.unsent = true;
            return;
        }
        let Some(relay) = self.relay else {
            return;
        };
        let policy = &turn.gateway.policy;
        let tried = relay.tried(policy, property);
        let under_way = Relay::under_way(policy, property, &tried);
        let found = Arrived { tried, status: None };
        if let UnderWay::At(hop, place) = &under_way {
            self.hop = *hop;
            self.record.provider.clone_from(&place.provider);
        }
        self.take_note(turn, &found);
        match under_way {
            UnderWay::At(_, place) if !found.tried.is_empty() => {
                let line = found.cut_off(place, self.ticket.prompt(), turn.now.monotonic);
                self.record.attempts.push(line);
            }
            UnderWay::Nobody => {
                if let Some(spent) = &mut self.spent {
                    spent.idle = true;
                }
            }
            UnderWay::At(..) | UnderWay::Unknown => {}
        }
    }

    /// Takes back the leave of a breaker that no attempt took up.
    pub(super) fn take_back(&mut self, property: &dyn Fn(&[&str]) -> Option<Vec<u8>>) {
        if self.relay.is_some() {
            self.pass = order_pass(property);
        }
    }

    fn take_note<S: Store>(&mut self, turn: &mut Turn<'_, S>, found: &Arrived) {
        self.record.attempts = found.note(turn);
        let relay = self.relay;
        self.spent = relay.and_then(|relay| relay.spent(found.lost(), self.hop.provider));
        if let Some(spent) = &mut self.spent {
            spent.payer = self.payer.take();
        }
        if let Some(kept) = &mut self.kept {
            kept.was_tried(found.tried.iter().map(|(hop, _)| *hop).collect());
        }
    }

    /// Whether the attempt that answers asked for usage, and the client hadn't. A translated stream always tells it.
    fn was_asked_for_usage(&self, policy: &Policy) -> bool {
        let speaks = matches!(self.endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        let asks = self.relay.is_some_and(|relay| relay.asks_usage);
        let provider = policy.providers.get(self.hop.provider);
        let told = provider.is_some_and(|p| p.include_usage || Pair::of(self.endpoint, p).is_some());
        speaks && asks && told
    }

    /// What the client is told when every attempt failed, instead of the last one's answer or the router's own words.
    /// `given_up` says that an attempt gave that answer up, and the router didn't try the next.
    pub(super) fn instead(
        &self,
        policy: &Policy,
        head: &ResponseHead<'_>,
        (status, given_up): (u16, bool),
    ) -> Option<Reply> {
        self.relay?;
        let named = policy.models.iter().find(|route| route.name == self.record.model);
        let rules = &named.or(policy.any_model.as_ref())?.failover;
        let listed = rules.on.statuses.binary_search(&status).is_ok();
        let provider = policy.providers.get(self.hop.provider);
        if given_up && provider.is_some_and(|provider| Pair::of(self.endpoint, provider).is_some()) {
            // Nobody said it again in the client's protocol.
            let own = rules.exhausted.as_ref().map(exhausted);
            return Some(own.unwrap_or_else(|| untranslated(self.endpoint, head, status)));
        }
        if status < 500 && !listed {
            return None;
        }
        let routers = head.details() != b"via_upstream";
        let failed = routers && status >= 500 || listed;
        match (&rules.exhausted, routers) {
            (Some(answer), _) if failed => Some(exhausted(answer)),
            (None, true) if failed => Some(unanswered(self.endpoint, status)),
            (Some(_) | None, _) => None,
        }
    }
}

/// What an answer turned out to be.
#[derive(Debug, Default)]
pub(super) struct Came {
    /// The provider's own status, where an attempt had it changed.
    pub(super) status: Option<u16>,
    pub(super) edits: Vec<Edit>,
}

/// Names what was left out of a request.
pub(super) fn dropped(names: &[&str]) -> Option<Edit> {
    (!names.is_empty()).then(|| Edit::set(DROPPED, names.join(", ")))
}

/// The policy's own last answer.
pub(super) fn exhausted(answer: &Exhausted) -> Reply {
    let kind = if answer.body.starts_with('{') {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let headers = [("content-type", kind), ("x-spillway-exhausted", "true")];
    Reply {
        status: answer.status,
        headers: headers.map(|(name, value)| (name.into(), value.into())).to_vec(),
        body: answer.body.clone().into_bytes(),
        details: "spillway_exhausted",
    }
}

/// An error in another protocol, in the client's dialect: its status, and when to come back.
fn untranslated(endpoint: Endpoint, head: &ResponseHead<'_>, status: u16) -> Reply {
    let mut reply = unanswered(endpoint, if status < 400 { 502 } else { status });
    for name in ["retry-after", "retry-after-ms"] {
        let value = head
            .headers
            .first(name)
            .and_then(|value| core::str::from_utf8(value).ok());
        reply
            .headers
            .extend(value.map(|value| (name.into(), value.to_owned().into())));
    }
    reply
}

/// The router's own words in the client's dialect.
fn unanswered(endpoint: Endpoint, status: u16) -> Reply {
    let message = "no provider answered this request";
    Reply {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: error_body(endpoint.dialect(), ErrorKind::Unavailable, message, "no_answer"),
        details: "spillway_exhausted",
    }
}
