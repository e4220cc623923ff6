//! A request as it goes to another candidate: its path, authority, credential, model name and body.
//!
//! The invariant: nothing of the client's goes along but the body, the path and, to who speaks its protocol, the headers
//! of that protocol; and no credential but this provider's.

use core::time::Duration;

use crate::dialect::{Edits, Endpoint, rewrite, scan};
use crate::policy::{Hop, ModelRoute};
use crate::time::Instant;
use crate::translate;

use super::super::foreign::{self, Pair};
use super::super::gateway::Gateway;
use super::super::plan::Plan;
use super::kept::Kept;

/// An HTTP call that the host is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What its asker knows it by, of several: it comes back with the answer.
    pub of: usize,
    /// The host's cluster.
    pub cluster: String,
    /// All headers, pseudo-headers first.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long an answer may take; never zero.
    pub timeout: Duration,
}

/// A call, and what its answer is read with.
pub(super) struct Outgoing {
    pub(super) call: Call,
    pub(super) written: Written,
    pub(super) choices: u32,
}

/// How a request was written for a provider.
#[derive(Debug)]
pub(super) struct Written {
    /// Another protocol than the client's.
    pub(super) pair: Option<Pair>,
    /// The model that the client named.
    pub(super) asked: String,
    /// What of the request the protocol has no place for.
    pub(super) dropped: Vec<&'static str>,
    /// Usage comes in a chunk of its own that the client didn't ask for.
    pub(super) strip_usage: bool,
}

impl Kept {
    /// Writes the request for a candidate. None if the candidate can't be asked.
    pub(super) fn outgoing(
        &self,
        gateway: &Gateway,
        (endpoint, hop): (Endpoint, Hop),
        (model, now): (&str, Instant),
    ) -> Option<Outgoing> {
        let policy = &gateway.policy;
        let facts = scan(endpoint, self.request()).ok()?;
        let route = gateway.route(model)?;
        let plan = Plan::bare(policy, route, &facts);
        let provider = policy.providers.get(hop.provider)?;
        let model = provider.models.get(hop.model)?;
        let path = foreign::path(endpoint, &self.path, (provider, &model.name), facts.stream)?;
        let pair = Pair::of(endpoint, provider);
        let own = plan.injects_usage(policy, hop, endpoint);
        let (body, dropped) = match pair {
            None => {
                let renamed = self.renamed(&plan, &model.name, own);
                let fitted = foreign::without_refused(policy, (endpoint, hop), &renamed);
                fitted.map_or((renamed, Vec::new()), |fitted| (fitted.body, fitted.dropped))
            }
            Some(pair) => {
                let translated = pair.request(self.request(), model, facts.stream)?;
                (translated.body, translated.dropped)
            }
        };
        let told = own || pair.is_some() && endpoint == Endpoint::ChatCompletions && facts.stream;
        Some(Outgoing {
            call: Call {
                of: 0,
                cluster: provider.cluster.clone(),
                headers: self.head(gateway, (route, hop), (pair, path)),
                body,
                timeout: self.times(&route.failover, self.prompt, now).whole,
            },
            written: Written {
                pair,
                asked: facts.model.clone().into_owned(),
                dropped,
                strip_usage: told && facts.include_usage != Some(true),
            },
            choices: facts.choices,
        })
    }

    /// The same with what guards let go out.
    pub(super) fn guarded(&mut self, mut outgoing: Outgoing) -> Option<Outgoing> {
        if let Some(watching) = &mut self.watching {
            outgoing.call.body = watching.once_more(outgoing.call.body)?;
        }
        Some(outgoing)
    }

    /// The client's own body with the provider's name of the model.
    fn renamed(&self, plan: &Plan<'_>, model: &str, include_usage: bool) -> Vec<u8> {
        let edits = Edits {
            model: Some(model),
            include_usage,
        };
        rewrite(self.request(), plan.facts, edits).unwrap_or_else(|| self.request().to_vec())
    }

    fn head(
        &self,
        gateway: &Gateway,
        (route, hop): (&ModelRoute, Hop),
        (pair, path): (Option<Pair>, String),
    ) -> Vec<(String, String)> {
        let Some(provider) = gateway.policy.providers.get(hop.provider) else {
            return Vec::new();
        };
        let authority = provider.authority.as_ref().unwrap_or(&self.authority);
        let path = format!("{}{path}", provider.path_prefix);
        let own = [
            (":method", "POST"),
            (":path", &path),
            (":authority", authority),
            ("content-type", "application/json"),
            ("accept-encoding", "identity"),
        ];
        let mut headers: Vec<_> = own.iter().map(|(name, value)| owned(name, value)).collect();
        match pair {
            Some(pair) => {
                let needed = translate::headers(pair.provider).iter();
                headers.extend(needed.map(|(name, value)| owned(name, value)));
            }
            None => headers.extend(self.protocol_headers(gateway, (route, hop))),
        }
        let credential = provider.credential.as_ref();
        headers.extend(credential.map(|c| (c.header.clone(), c.value.clone())));
        headers
    }

    fn protocol_headers<'k>(
        &'k self,
        gateway: &'k Gateway,
        (route, hop): (&'k ModelRoute, Hop),
    ) -> impl Iterator<Item = (String, String)> + 'k {
        let stays = move |name: &str| {
            !foreign::is_meant_for(name, route, hop) || gateway.is_identity(name.as_bytes())
        };
        let known = self.headers.iter().filter(move |(name, _)| !stays(name));
        known.cloned()
    }
}

fn owned(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
