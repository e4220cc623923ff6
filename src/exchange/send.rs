//! How a request goes out once its tokens are set aside: by the host as it is, by the host's router, or by a callout.

use crate::dialect::{Edits, rewrite};
use crate::policy::Hop;
use crate::store::Store;

use super::admit::Granted;
use super::ahead::route_edits;
use super::foreign;
use super::identify::Identified;
use super::plan::Plan;
use super::relay;
use super::{Edit, Exchange, Flow, Step, Turn};

impl Identified {
    pub(super) fn send<S: Store>(
        mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        granted: Granted,
        bytes: &[u8],
    ) -> (Exchange, Step) {
        if relay::is_native(&turn.gateway.policy, plan.route) {
            return self.relay(turn, plan, (granted, bytes));
        }
        if self.speaks_another(&turn.gateway.policy, plan, granted.hop) {
            return self.call(turn, plan, (granted, bytes));
        }
        let policy = &turn.gateway.policy;
        let inject = plan.injects_usage(policy, granted.hop, self.endpoint);
        let body = rewrite(
            bytes,
            plan.facts,
            Edits {
                model: plan.renamed(policy, granted.hop),
                include_usage: inject,
            },
        );
        let body = body.or_else(|| self.masked.then(|| bytes.to_vec()));
        let (body, dropped) = self.fitted(turn, granted.hop, (bytes, body));
        let mut edits = core::mem::take(&mut self.edits);
        if policy.host.body_pause {
            edits.extend(route_edits(policy, granted.hop, &self.path));
            let strays = foreign::ACCOUNTS.iter();
            let strays = strays.filter(|name| !foreign::is_meant_for(name, plan.route, granted.hop));
            edits.extend(strays.map(Edit::remove));
            edits.extend(self.foreign_path(policy, plan, granted.hop));
            edits.extend(body.as_deref().map(content_length));
        } else {
            edits.clear();
        }
        let kept = self.keep(turn, plan, (&granted, bytes));
        if policy.host.body_pause {
            edits.extend(kept.as_ref().and_then(|kept| kept.timeout_edit(turn)));
        }
        let mut admitted = self.admitted(turn, plan, granted);
        admitted.kept = kept;
        admitted.dropped = dropped;
        admitted.strip_usage = inject && plan.facts.include_usage != Some(true);
        let flow = Flow::Continue;
        (Exchange::Admitted(admitted), Step { edits, body, flow })
    }

    /// The body without what its provider's model refuses, and the names of that.
    fn fitted<S: Store>(
        &self,
        turn: &Turn<'_, S>,
        hop: Hop,
        (own, written): (&[u8], Option<Vec<u8>>),
    ) -> (Option<Vec<u8>>, Vec<&'static str>) {
        if turn.in_shadow() {
            return (written, Vec::new());
        }
        let sent = written.as_deref().unwrap_or(own);
        match foreign::without_refused(&turn.gateway.policy, (self.endpoint, hop), sent) {
            None => (written, Vec::new()),
            Some(fitted) => (Some(fitted.body), fitted.dropped),
        }
    }
}

pub(super) fn content_length(body: &[u8]) -> Edit {
    Edit::set("content-length", body.len().to_string())
}
