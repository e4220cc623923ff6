//! Limits of a whole fleet: what makes one, and where the fleet counts.
//!
//! Its invariant: a fleet limit that every proxy would count for itself alone, because nothing makes them name callers
//! alike or because its requests go past the host's rate-limit filter, is refused.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::error::member;
use super::field::{Field, Reading, Section};
use super::names;
use super::types::{Fleet, Limit, ModelRoute, OnRlsFailure, Per, Scope, Validation, Via};

impl Default for Fleet {
    /// The service's usual name, and time enough for a store in the same region.
    fn default() -> Self {
        Self {
            cluster: "ratelimit".to_owned(),
            domain: "spillway".to_owned(),
            timeout: Duration::from_millis(100),
            on_rls_failure: OnRlsFailure::default(),
        }
    }
}

/// Each is a descriptor in the question before a request and one in its bill: more than these nobody waits for.
pub(super) const MOST: usize = 8;
/// The variable of the VM's environment by which proxies name callers alike.
pub(super) const HASH_KEY: &str = "SPILLWAY_HASH_KEY";
/// What rate-limit services can count up to in one period: `requests_per_unit` is a `uint32`.
const LARGEST: u64 = u32::MAX as u64;

const SCOPES: [&str; 2] = ["proxy", "fleet"];
const FAILURES: [(&str, OnRlsFailure); 2] = [("allow", OnRlsFailure::Allow), ("deny", OnRlsFailure::Deny)];
/// Shorter than a millisecond nothing is timed; nobody waits longer than this for leave to ask.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);

/// The limit as one proxy holds it: of a fleet limit, its share.
pub(super) fn scoped(section: &Section<'_>, limit: Limit, r: &mut Reading<'_>) -> Limit {
    let fleet = section.get("scope").is_some_and(|field| is_fleet(&field, r));
    let share = section.get("share");
    if !fleet {
        if let Some(field) = share {
            field.refuse(
                r,
                "a limit of one proxy is its own whole",
                "this field only with scope: fleet",
            );
        }
        return limit;
    }
    let share = share.map_or(1.0, |field| part(&field, r));
    if limit.quota > LARGEST {
        let path = section.path_of(limit.unit.as_str());
        r.refuse(
            &path,
            "is more than a rate-limit service counts to",
            "at most 4294967295 per period with scope: fleet",
        );
    }
    Limit {
        scope: Scope::Fleet { quota: limit.quota },
        quota: shared(limit.quota, share),
        burst: shared(limit.burst, share),
        ..limit
    }
}

fn is_fleet(field: &Field<'_>, r: &mut Reading<'_>) -> bool {
    let [_, fleet] = SCOPES;
    let found = field.choice(r, &SCOPES.map(|word| (word, word == fleet)));
    let key = r.environment.variable(HASH_KEY);
    if found == Some(true) && key.is_none_or(|key| key.is_empty()) {
        field.refuse(
            r,
            format!("is fleet, and {HASH_KEY} isn't set: each proxy would name callers otherwise"),
            format!("{HASH_KEY} in the VM's environment, alike on every proxy; or proxy"),
        );
    }
    found == Some(true)
}

fn part(field: &Field<'_>, r: &mut Reading<'_>) -> f64 {
    let allowed = "a share above 0 and up to 1, such as 0.5";
    let share = field.number(r, allowed, |share| (SMALLEST..=1.0).contains(&share));
    share.unwrap_or(1.0)
}

/// Smaller shares than one in ten thousand are typing errors.
const SMALLEST: f64 = 0.000_1;

/// The share of an amount, rounded up: never nothing.
fn shared(amount: u64, share: f64) -> u64 {
    // Through text: `as` would be silent if it ever truncated.
    let parts: u128 = format!("{:.0}", share * 10_000.0).parse().unwrap_or(10_000);
    let part = u128::from(amount).saturating_mul(parts).div_ceil(10_000);
    u64::try_from(part).unwrap_or(amount).clamp(1, amount.max(1))
}

/// The section of the policy, and what all of its fleet limits together must keep to.
pub(super) fn fleet(
    section: &Section<'_>,
    (limits, routes, validate): (&[Limit], &[&ModelRoute], &[Validation]),
    r: &mut Reading<'_>,
) -> Fleet {
    let found = section.get("fleet").map(|field| (read(&field, r), field));
    let count = limits.iter().filter(|limit| limit.is_fleets()).count();
    if let Some((_, field)) = found.as_ref().filter(|_| count == 0) {
        field.refuse(r, "no limit is the fleet's", "a limit with scope: fleet");
    }
    let path = section.path_of("limits");
    if count > MOST {
        r.refuse(
            &path,
            format!("has {count} with scope: fleet"),
            format!("at most {MOST}"),
        );
    }
    for route in routes.iter().filter(|_| count > 0) {
        fits_route(section, route, r);
    }
    let parts = |limit: &Limit| limit.is_fleets() && limit.per.contains(&Per::Provider);
    let native = routes.iter().any(|route| route.failover.via == Via::Native);
    if limits.iter().any(parts) && (native || validate.iter().any(|rule| rule.on_invalid.asks())) {
        r.refuse(
            &path,
            "has one of the fleet per provider: who asks several leaves one bill",
            "per without provider with scope: fleet, where failover.via is native or an answer is asked for again",
        );
    }
    found.map(|(fleet, _)| fleet).unwrap_or_default()
}

/// What the filter sends by a call of its own, the host's rate-limit filter never sees.
fn fits_route(section: &Section<'_>, route: &ModelRoute, r: &mut Reading<'_>) {
    if route.failover.via == Via::Callout {
        r.refuse(
            &member(&section.path_of("models"), &route.name),
            "fails over by callouts, which go past the fleet's limits",
            "failover.via: none or native with limits of scope: fleet",
        );
    }
}

fn read(field: &Field<'_>, r: &mut Reading<'_>) -> Fleet {
    let usual = Fleet::default();
    let s = field.section(r, &["cluster", "domain", "timeout", "on_rls_failure"]);
    let mut text = |name, usual: String| {
        s.or(name, usual, |f| {
            f.parsed(r, names::PLAIN, names::plain).map(str::to_owned)
        })
    };
    let (cluster, domain) = (text("cluster", usual.cluster), text("domain", usual.domain));
    Fleet {
        cluster,
        domain,
        timeout: s.or("timeout", usual.timeout, |f| f.duration(r, TIMEOUT)),
        on_rls_failure: s.or("on_rls_failure", usual.on_rls_failure, |f| f.choice(r, &FAILURES)),
    }
}

#[cfg(test)]
mod tests {
    use super::shared;

    #[test]
    fn a_share_is_rounded_up_and_never_nothing() {
        let table = [
            (1_000, 0.5, 500),
            (3, 0.5, 2),
            (1, 0.01, 1),
            (10, 1.0, 10),
            (u64::MAX, 0.25, u64::MAX / 4 + 1),
        ];
        for (amount, share, expected) in table {
            assert_eq!(shared(amount, share), expected);
        }
    }
}
