//! Three kinds of no, in the client's own dialect: not now (with when), never, and broken.

use core::time::Duration;
use std::borrow::Cow;

use crate::dialect::{Dialect, Endpoint, ErrorKind, error_body};
use crate::ledger::{self, Level};
use crate::policy::{Limit, Mode, Policy, Unit};
use crate::report::Record;
use crate::report::metric::{LimitRef, Metric, Refused};
use crate::report::ratelimit::{Quota, quota_headers, retry_headers};
use crate::store::Store;
use crate::time::{Instant, Now};

use super::gateway::{Claims, PROVIDERS};
use super::step::{Flow, Reply};
use super::{Exchange, Step, Turn};

/// Past this, trying again soon is useless: no SDK waits longer.
const USELESS_AFTER: Duration = Duration::from_secs(60);

/// A no, before it is written.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Refused,
    status: u16,
    kind: ErrorKind,
    message: String,
    code: &'static str,
    wait: Option<Duration>,
    levels: Vec<(LimitRef, Level)>,
    tightest: Option<LimitRef>,
}

impl Refusal {
    fn new(reason: Refused, status: u16, kind: ErrorKind, message: String, code: &'static str) -> Self {
        Self {
            reason,
            status,
            kind,
            message,
            code,
            wait: None,
            levels: Vec::new(),
            tightest: None,
        }
    }

    pub(super) fn anonymous() -> Self {
        let message = "no known credential names the caller of this request".into();
        Self::new(
            Refused::Anonymous,
            401,
            ErrorKind::Authentication,
            message,
            "unknown_caller",
        )
    }

    pub(super) fn bad_request(message: &str, code: &'static str) -> Self {
        Self::new(
            Refused::BadRequest,
            400,
            ErrorKind::InvalidRequest,
            message.into(),
            code,
        )
    }

    /// 400: something in it mustn't go on.
    pub(super) fn guarded(message: String) -> Self {
        Self::new(
            Refused::Guard,
            400,
            ErrorKind::InvalidRequest,
            message,
            "guarded_request",
        )
    }

    pub(super) fn encoded(encoding: &str) -> Self {
        let message = format!("content-encoding {encoding:?} can't be read here: send the body unencoded");
        Self::new(
            Refused::Encoded,
            415,
            ErrorKind::UnsupportedMedia,
            message,
            "unsupported_encoding",
        )
    }

    pub(super) fn oversize(bound: usize) -> Self {
        let message = format!("the request's body is over the bound of {bound} bytes");
        Self::new(
            Refused::Oversize,
            413,
            ErrorKind::TooLarge,
            message,
            "body_too_large",
        )
    }

    pub(super) fn unknown_model(message: String) -> Self {
        Self::new(
            Refused::Model,
            404,
            ErrorKind::NotFound,
            message,
            "model_not_found",
        )
    }

    pub(super) fn never(message: String) -> Self {
        Self::new(
            Refused::Never,
            400,
            ErrorKind::InvalidRequest,
            message,
            "prompt_too_long",
        )
    }

    pub(super) fn unavailable(wait: Duration) -> Self {
        let message = "no provider for this model can be asked now".into();
        let refusal = Self::new(
            Refused::Unavailable,
            503,
            ErrorKind::Unavailable,
            message,
            "no_provider",
        );
        Self {
            wait: Some(wait),
            ..refusal
        }
    }

    /// A moderation flagged the request.
    pub(super) fn flagged(name: &str) -> Self {
        Self::new(
            Refused::Flagged,
            400,
            ErrorKind::InvalidRequest,
            format!("the request is refused by content policy {name:?}"),
            "content_policy_violation",
        )
    }

    /// No moderation could judge the request now, where one must.
    pub(super) fn unmoderated(name: &str) -> Self {
        let refusal = Self::new(
            Refused::Unmoderated,
            503,
            ErrorKind::Unavailable,
            format!("content policy {name:?} can't judge the request now"),
            "moderation_unavailable",
        );
        Self {
            wait: Some(Duration::from_secs(1)),
            ..refusal
        }
    }

    /// No moderation could ever judge the request, where one must.
    pub(super) fn unjudgeable(name: &str) -> Self {
        Self::new(
            Refused::Unmoderated,
            400,
            ErrorKind::InvalidRequest,
            format!("content policy {name:?} can't judge the request: it is too long, or not given as text"),
            "moderation_impossible",
        )
    }

    /// 429: the ledger's refusal, with the levels of every limit that applies.
    pub(super) fn limited(claims: &Claims<'_>, refusal: &ledger::Refusal) -> Self {
        let levels = sourced(claims, &refusal.levels);
        let tightest = claims.sources.get(refusal.claim).copied();
        // What a provider grants us is nobody's business, its limits' names included.
        let own = claims.claims.get(refusal.claim).filter(|c| c.group != PROVIDERS);
        let name = own.map_or_else(|| "a limit".into(), |c| format!("limit {:?}", c.limit.name));
        let message = format!(
            "{name} is used up for now; it has room again in {} s",
            whole_seconds(refusal.retry_after)
        );
        let refused = Self::new(
            Refused::Limit,
            429,
            ErrorKind::RateLimited,
            message,
            "rate_limit_exceeded",
        );
        Self {
            wait: Some(refusal.retry_after),
            levels,
            tightest,
            ..refused
        }
    }

    /// 429: all proxies together have used a limit up; which, if it can be but one.
    pub(super) fn of_fleet(limit: Option<(LimitRef, &Limit)>, wait: Duration) -> Self {
        let name = limit.map_or_else(|| "a limit".into(), |(_, l)| format!("limit {:?}", l.name));
        let message = format!(
            "{name} of all proxies together is used up for now; try again in {} s",
            whole_seconds(wait)
        );
        let refused = Self::new(
            Refused::Fleet,
            429,
            ErrorKind::RateLimited,
            message,
            "rate_limit_exceeded",
        );
        Self {
            wait: Some(wait),
            tightest: limit.map(|(limit, _)| limit),
            ..refused
        }
    }

    /// 503: who counts for all proxies doesn't answer, and the policy says that nobody goes uncounted.
    pub(super) fn fleet_unavailable() -> Self {
        let message = "the limits of all proxies together can't be asked now".into();
        let refused = Self::new(
            Refused::FleetUnavailable,
            503,
            ErrorKind::Unavailable,
            message,
            "limits_unavailable",
        );
        Self {
            wait: Some(Duration::from_secs(1)),
            ..refused
        }
    }

    /// The reply, in the client's dialect.
    fn reply(&self, policy: &Policy, dialect: Dialect, now: Now) -> Reply {
        let mut headers = vec![(Cow::Borrowed("content-type"), Cow::Borrowed("application/json"))];
        if let Some(wait) = self.wait {
            let retry = retry_headers(wait, wait > USELESS_AFTER);
            headers.extend(retry.into_iter().map(|(name, value)| (name.into(), value.into())));
        } else {
            headers.push((Cow::Borrowed("x-should-retry"), Cow::Borrowed("false")));
        }
        let quotas = quota_headers(dialect, &tightest(policy, &self.levels), now);
        headers.extend(
            quotas
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        let body = error_body(dialect, self.kind, &self.message, self.code);
        Reply {
            status: self.status,
            headers,
            body,
            details: "spillway",
        }
    }
}

/// Refuses a request: the reply, and the record of an exchange that ends here.
pub(super) fn refuse<S: Store>(
    turn: &mut Turn<'_, S>,
    endpoint: Endpoint,
    mut record: Box<Record>,
    refusal: Refusal,
) -> (Exchange, Step) {
    turn.count(Metric::Refused(refusal.reason));
    let policy = &turn.gateway.policy;
    for (limit, _) in refusal
        .levels
        .iter()
        .filter(|(limit, level)| refuses(policy, *limit, level))
    {
        record.hit(policy, *limit);
        turn.effects
            .metrics
            .push((Metric::Limit(*limit, crate::report::metric::Decision::Denied), 1));
    }
    if record.limits_hit.is_empty()
        && let Some(limit) = refusal.tightest
    {
        record.hit(policy, limit);
        turn.effects
            .metrics
            .push((Metric::Limit(limit, crate::report::metric::Decision::Denied), 1));
    }
    let reply = refusal.reply(policy, endpoint.dialect(), turn.now);
    record.refused = refusal.reason.as_str();
    record.status = Some(refusal.status);
    record.close("refused", turn.now.monotonic);
    (
        Exchange::Done(record),
        Step {
            edits: Vec::new(),
            body: None,
            flow: Flow::Reply(reply),
        },
    )
}

fn refuses(policy: &Policy, limit: LimitRef, level: &Level) -> bool {
    level.would_refuse && limit.of(policy).is_some_and(|l| l.mode == Mode::Enforce)
}

/// Levels with the limits that they are of.
pub(super) fn sourced(claims: &Claims<'_>, levels: &[Level]) -> Vec<(LimitRef, Level)> {
    let source = |level: &Level| claims.sources.get(level.claim).map(|limit| (*limit, *level));
    levels.iter().filter_map(source).collect()
}

/// The tightest enforced limit of each unit, callers' limits only: what a provider grants us is nobody's business.
pub(super) fn tightest<'p>(policy: &'p Policy, levels: &[(LimitRef, Level)]) -> Vec<Quota<'p>> {
    if policy.mode == Mode::Shadow {
        return Vec::new();
    }
    let of_unit = |unit: Unit| {
        let mut quotas: Vec<Quota<'p>> = levels
            .iter()
            .filter_map(|(limit, level)| quota(policy, *limit, level))
            .filter(|quota| quota.unit == unit)
            .collect();
        quotas.sort_by_key(|quota| share_left(quota));
        quotas.into_iter().next()
    };
    [of_unit(Unit::Requests), of_unit(Unit::Tokens)]
        .into_iter()
        .flatten()
        .collect()
}

fn quota<'p>(policy: &'p Policy, limit: LimitRef, level: &Level) -> Option<Quota<'p>> {
    let LimitRef::Caller(_) = limit else { return None };
    let limit = limit.of(policy).filter(|l| l.mode == Mode::Enforce)?;
    Some(Quota {
        name: &limit.name,
        unit: limit.unit,
        capacity: level.capacity,
        remaining: level.remaining,
        reset: level.reset,
        period: limit.period,
        quota: limit.quota,
    })
}

/// What is left in parts of a million, so that limits of different size compare.
fn share_left(quota: &Quota<'_>) -> u64 {
    let share = u128::from(quota.remaining) * 1_000_000 / u128::from(quota.capacity.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// How long until an instant; a second when it has passed already.
pub(super) fn wait_until(at: Option<Instant>, now: Now) -> Duration {
    let wait = at.map_or(Duration::ZERO, |at| at.since(now.monotonic));
    wait.max(Duration::from_secs(1))
}

/// Seconds, rounded up: what `Retry-After` says too.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
        .max(1)
}
