//! Names of metrics that carry names of the policy.

use super::{Decision, LimitRef, segment};
use crate::guard::Kind;
use crate::policy::{Mode, Policy};

/// What a limit decided.
pub(super) fn limit(policy: &Policy, limit: LimitRef, decision: Decision) -> String {
    let name = limit.of(policy).map_or("other", |l| l.name.as_str());
    format!(
        "spillway.limit.limit={}.decision={}",
        segment(name),
        decision.as_str()
    )
}

/// What a guard found, and what became of it.
pub(super) fn guard(policy: &Policy, guard: usize, kind: Kind) -> String {
    let found = policy.guards.get(guard);
    let name = found.map_or("other", |g| g.name.as_str());
    let shadow = policy.mode == Mode::Shadow || found.is_some_and(|g| g.mode == Mode::Shadow);
    let decision = match found {
        Some(guard) if !shadow => guard.action.as_str(),
        Some(_) | None => "shadow",
    };
    format!(
        "spillway.guard.rule={}.type={}.decision={decision}",
        segment(name),
        kind.name()
    )
}
