//! Drills: a share of requests goes as if the chain's first candidate were down, so that the others are known to do before
//! they are needed.
//!
//! Its invariant: a drill refuses nobody and blames nobody. Where nobody else can take the request, or it couldn't be sent to
//! the first after all, it goes as ever; whatever the other says but a good answer sends it to the first; and the first
//! candidate's breaker hears nothing of it.

use crate::policy::{Hop, ModelRoute};
use crate::report::metric::{Drilled, Metric, PassedOver};
use crate::store::Store;

use super::Turn;
use super::admit::{Granted, note_passed};
use super::identify::Identified;
use super::plan::Plan;
use super::relay;

impl Identified {
    /// The candidate after the chain's first that takes the request, if it is drawn for a drill.
    pub(super) fn drilled<S: Store>(
        &mut self,
        turn: &mut Turn<'_, S>,
        plan: &Plan<'_>,
        route: &ModelRoute,
    ) -> Option<Granted> {
        let primary = self.drill(turn, plan, route)?;
        if turn.in_shadow() {
            turn.count(Metric::Drill(primary.provider, Drilled::Shadow));
            return None;
        }
        let hits = self.record.limits_hit.len();
        // It is down as a whole: another of its models would be asked again there, by the retry budget, or not at all.
        let same = route.chain.iter().filter(|hop| hop.provider == primary.provider);
        let same: Vec<Hop> = same.copied().collect();
        let search = turn.gateway.search(route, plan.need(self.endpoint));
        let mut search = search.drilling(&same);
        let Ok(mut granted) = self.admit_first(turn, plan, &mut search) else {
            self.record.limits_hit.truncate(hits);
            turn.count(Metric::Drill(primary.provider, Drilled::Stayed));
            return None;
        };
        turn.count(Metric::Drill(primary.provider, Drilled::Moved));
        let policy = &turn.gateway.policy;
        let provider = policy.providers.get(primary.provider);
        self.record.drill = provider.map(|p| p.name.clone()).unwrap_or_default();
        self.record.pass_over(policy, primary, PassedOver::Drill);
        note_passed(turn, &search, &mut self.record);
        granted.drilled = Some(primary);
        Some(granted)
    }

    /// The candidate that a drill takes for down, if this request is drawn for one: the chain's first, if it could have the
    /// request, now and when the other has failed, and somebody stands behind it.
    fn drill<S: Store>(&self, turn: &mut Turn<'_, S>, plan: &Plan<'_>, route: &ModelRoute) -> Option<Hop> {
        let (primary, others) = route.chain.split_first()?;
        let drawn = is_drawn(route.failover.drill, turn.entropy);
        let others = others.iter().any(|hop| hop.provider != primary.provider);
        // What lives at one provider stays there; in shadow nothing moves.
        let moves = plan.movable && route.failover.attempts > 1 || turn.in_shadow();
        if !(drawn && others && moves) || plan.facts.pinned {
            return None;
        }
        let search = turn.gateway.search(route, plan.need(self.endpoint));
        let well = search.is_well(*primary, turn.store, turn.now.monotonic);
        let tokens = plan.tokens(turn, Some(*primary));
        let fits = !plan.unfit(&turn.gateway.policy, self.endpoint, *primary)
            && !plan.is_too_long(turn, *primary, tokens)
            && !relay::is_full(turn, Some((&self.who, &plan.route.name)), *primary);
        (well && fits).then_some(*primary)
    }
}

/// Whether a random number is one of that share. It also decides about breakers, by its highest bits: so it is mixed first.
fn is_drawn(share: f64, entropy: u64) -> bool {
    let mixed = entropy.wrapping_mul(MIX) >> 32;
    let drawn = u32::try_from(mixed).unwrap_or(u32::MAX);
    f64::from(drawn) < share * 4_294_967_296.0
}

/// The golden ratio's bits: odd, and without a pattern.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::is_drawn;

    #[test]
    fn a_share_is_drawn_as_often_as_it_says() {
        for (share, most) in [(0.0, 0), (0.05, 5_200), (0.5, 50_600), (1.0, 100_000)] {
            let mut state = 1_u64;
            let drawn = (0..100_000).filter(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                is_drawn(share, state ^ (state >> 33))
            });
            let drawn = drawn.count();
            assert!(drawn <= most && drawn * 100 >= most * 92, "{share}: {drawn}");
        }
        assert!(is_drawn(1.0, u64::MAX) && !is_drawn(0.0, 0));
    }
}
