//! Whether a ladder that asks somebody again can be climbed at all, by what the host allows and where its models go.

use super::field::{Reading, Section};
use super::ladder::Rung;
use super::types::{Host, ModelRoute, Validation};

/// Notes what can't be. `validate` are the rules of the document's section.
pub(super) fn fit(
    section: &Section<'_>,
    validate: &[Validation],
    (host, routes): (&Host, &[&ModelRoute]),
    r: &mut Reading<'_>,
) {
    for (index, rule) in validate
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.on_invalid.asks())
    {
        let path = format!("{}[{index}].on_invalid", section.path_of("validate"));
        let applies = |route: &&&ModelRoute| rule.when.concerns(&route.name);
        let mut routes = routes.iter().filter(applies);
        if !host.body_pause {
            r.refuse(
                &path,
                "asks for another answer, which needs the first one's head held",
                "repair, default, reject, annotate; or retry and fallback with host.body_pause: true",
            );
        } else if routes.clone().all(|route| route.failover.attempts < 2) {
            r.refuse(
                &path,
                "asks for another answer, and failover.attempts is 1",
                "failover.attempts from 2 to 5 for one of its models",
            );
        } else if rule.on_invalid.rungs().contains(&Rung::Fallback)
            && routes.all(|route| route.chain.len() < 2)
        {
            r.refuse(
                &path,
                "falls back, and no chain of its models has a second hop",
                "fallback where there is another candidate; retry asks the same one",
            );
        }
    }
}
