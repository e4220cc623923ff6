//! A request as it goes to another candidate: its path, authority, credential, model name and body.
//!
//! The invariant: nothing of the client's goes along but the body, the path and the headers in [`super::kept`]'s list,
//! and no credential but this provider's.

use core::time::Duration;

use crate::dialect::{Edits, Endpoint, rewrite, scan};
use crate::policy::{Hop, Policy};
use crate::time::Instant;

use super::super::gateway::Gateway;
use super::super::plan::Plan;
use super::kept::Kept;

/// An HTTP call that the host is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
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
    /// Usage was asked for that the client didn't ask for.
    pub(super) strip_usage: bool,
    pub(super) choices: u32,
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
        let facts = scan(endpoint, &self.body).ok()?;
        let route = gateway.route(model)?;
        let plan = Plan::new(policy, route, &facts);
        let inject = plan.injects_usage(policy, hop, endpoint);
        let edits = Edits {
            model: plan.renamed(policy, hop),
            include_usage: inject,
        };
        let body = rewrite(&self.body, &facts, edits).unwrap_or_else(|| self.body.clone());
        Some(Outgoing {
            call: Call {
                cluster: policy.providers.get(hop.provider)?.cluster.clone(),
                headers: self.head(policy, hop)?,
                body,
                timeout: self.times(&route.failover, self.prompt, now).whole,
            },
            strip_usage: inject && facts.include_usage != Some(true),
            choices: facts.choices,
        })
    }

    fn head(&self, policy: &Policy, hop: Hop) -> Option<Vec<(String, String)>> {
        let provider = policy.providers.get(hop.provider)?;
        let authority = provider.authority.as_ref().unwrap_or(&self.authority);
        let path = format!("{}{}", provider.path_prefix, self.path);
        let own = [
            (":method", "POST"),
            (":path", &path),
            (":authority", authority),
            ("content-type", "application/json"),
            ("accept-encoding", "identity"),
        ];
        let mut headers: Vec<_> = own
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        headers.extend(self.headers.iter().cloned());
        let credential = provider.credential.as_ref();
        headers.extend(credential.map(|c| (c.header.clone(), c.value.clone())));
        Some(headers)
    }
}
