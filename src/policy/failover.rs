//! Failing over inside one request: the section's fields and their defaults, for all models and for one.

use core::ops::RangeInclusive;
use core::time::Duration;

use serde_json::Value;

use super::field::{Field, Reading, Section};
use super::names;
use super::types::{
    Backoff, Charge, Exhausted, Failover, FailoverOn, Grown, Incompatible, ModelRoute, Timeouts, Via,
};

impl Default for Failover {
    /// None, and where it is asked for what platform teams expect: three attempts, on everything that is the provider's.
    fn default() -> Self {
        Self {
            via: Via::default(),
            attempts: 3,
            on: FailoverOn::default(),
            backoff: Backoff {
                base: Duration::from_millis(250),
                max: Duration::from_secs(10),
            },
            retry_after_max: Duration::from_secs(5),
            retry_budget: 0.2,
            charge: Charge::default(),
            incompatible: Incompatible::default(),
            timeouts: Timeouts::default(),
            deadline_header: None,
            exhausted: None,
            drill: 0.0,
        }
    }
}

impl Default for FailoverOn {
    fn default() -> Self {
        Self {
            connect: true,
            reset: true,
            timeout: true,
            stream_error: true,
            first_token: true,
            statuses: vec![408, 429, 500, 502, 503, 504, 529],
        }
    }
}

impl Default for Timeouts {
    /// Long enough for models that think: what is cut off must be as good as dead.
    fn default() -> Self {
        Self {
            first_token: Grown {
                base: Duration::from_secs(60),
                per_1k_prompt: Duration::from_millis(250),
                per_1k_output: Duration::ZERO,
            },
            whole: Grown {
                base: Duration::from_secs(300),
                per_1k_prompt: Duration::from_millis(250),
                per_1k_output: Duration::from_secs(30),
            },
        }
    }
}

const FIELDS: [&str; 12] = [
    "via",
    "attempts",
    "retry_on",
    "backoff",
    "retry_after_max",
    "retry_budget",
    "charge",
    "incompatible",
    "timeouts",
    "deadline_header",
    "exhausted",
    "drill",
];
const VIA: [(&str, Via); 3] = [
    ("none", Via::None),
    ("native", Via::Native),
    ("callout", Via::Callout),
];
const CHARGE: [(&str, Charge); 2] = [("all", Charge::All), ("final", Charge::Final)];
const INCOMPATIBLE: [(&str, Incompatible); 2] =
    [("refuse", Incompatible::Refuse), ("drop", Incompatible::Drop)];

/// Each attempt asks another candidate or repeats: more than this no client waits for.
const ATTEMPTS: RangeInclusive<u32> = 1..=5;
/// Shorter than a millisecond nothing is timed; longer than an hour no client waits.
const SPAN: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3_600);
/// What may be nothing at all.
const GROWTH: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

/// The section laid over what holds where it says nothing: the defaults, or, for one model, the policy's own section.
pub(super) fn failover(field: &Field<'_>, base: &Failover, r: &mut Reading<'_>) -> Failover {
    let s = field.section(r, &FIELDS);
    Failover {
        via: s.or("via", base.via, |f| f.choice(r, &VIA)),
        attempts: s.or("attempts", base.attempts, |f| f.small(r, ATTEMPTS)),
        on: s.or("retry_on", base.on.clone(), |f| Some(on(&f, r))),
        backoff: s.or("backoff", base.backoff, |f| Some(backoff(&f, base.backoff, r))),
        retry_after_max: s.or("retry_after_max", base.retry_after_max, |f| f.duration(r, GROWTH)),
        retry_budget: s.or("retry_budget", base.retry_budget, |f| {
            f.number(r, "a share from 0 to 1, such as 0.2", |share| {
                (0.0..=1.0).contains(&share)
            })
        }),
        charge: s.or("charge", base.charge, |f| f.choice(r, &CHARGE)),
        incompatible: s.or("incompatible", base.incompatible, |f| f.choice(r, &INCOMPATIBLE)),
        timeouts: s.or("timeouts", base.timeouts, |f| {
            Some(timeouts(&f, base.timeouts, r))
        }),
        deadline_header: match s.get("deadline_header") {
            Some(f) => names::request_header(&f, r),
            None => base.deadline_header.clone(),
        },
        exhausted: match s.get("exhausted") {
            Some(f) => exhausted(&f, r),
            None => base.exhausted.clone(),
        },
        drill: s.or("drill", base.drill, |f| f.share(r)),
    }
}

/// Notes what needs a host that holds headers, in the section at `path` on one that doesn't; what was told of the section
/// it is laid over is `told` already.
pub(super) fn fits_host(path: &str, own: &Failover, told: Option<&Failover>, r: &mut Reading<'_>) {
    if own.via == Via::Native && told.is_none_or(|told| told.via != own.via) {
        r.refuse(
            &format!("{path}.via"),
            "is native, which needs the body before anything goes out",
            "none, callout; or native with host.body_pause: true",
        );
    }
    if own.drill > 0.0 && told.is_none_or(|told| told.drill < own.drill) {
        r.refuse(
            &format!("{path}.drill"),
            "needs the body before anything goes out: what lives at one provider isn't moved",
            "0; or a share with host.body_pause: true",
        );
    }
}

/// Notes drills that a failure of the other candidate would end: nobody would ask the first after all. `path` is the
/// section's, `routes` those that it is for.
pub(super) fn fits_drills(path: &str, routes: &[&ModelRoute], r: &mut Reading<'_>) {
    let path = format!("{path}.drill");
    let drilled = routes
        .iter()
        .filter(|route| route.failover.drill > 0.0 && has_another(route));
    let mut moved = drilled.map(|route| &route.failover);
    if moved.clone().any(|own| own.via == Via::None) {
        r.refuse(
            &path,
            "needs somebody who sends a request to the first after all, when the other fails",
            "0; or a share with failover.via: native or callout",
        );
    } else if moved.any(|own| own.attempts < 2) {
        r.refuse(
            &path,
            "needs a second attempt: the first candidate's, when the other fails",
            "0; or a share with failover.attempts from 2 to 5",
        );
    }
}

/// Notes a drill that none of the chains that it is for has a second provider for.
pub(super) fn fits_chains(path: &str, routes: &[&ModelRoute], r: &mut Reading<'_>) {
    let drills = routes.iter().any(|route| route.failover.drill > 0.0);
    if drills && !routes.iter().any(|route| has_another(route)) {
        r.refuse(
            &format!("{path}.drill"),
            "has nobody to go to: all of the chain is one provider's",
            "0; or a share where a chain has a second provider",
        );
    }
}

/// Whether a chain has more than one provider.
fn has_another(route: &ModelRoute) -> bool {
    let mut providers = route.chain.iter().map(|hop| hop.provider);
    let first = providers.next();
    providers.any(|other| Some(other) != first)
}

const ON: &str = "a list of connect, reset, timeout, stream_error, first_token and statuses from 400 to 599";

fn on(field: &Field<'_>, r: &mut Reading<'_>) -> FailoverOn {
    let mut on = FailoverOn {
        connect: false,
        reset: false,
        timeout: false,
        stream_error: false,
        first_token: false,
        statuses: Vec::new(),
    };
    for item in field.items(r, ON) {
        if item.tree().is_number() {
            let status = item.whole(r, 400..=599).and_then(|n| u16::try_from(n).ok());
            on.statuses.extend(status);
        } else if let Some(flag) = item.parsed(r, ON, |word| cause(&mut on, word)) {
            *flag = true;
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    on
}

fn cause<'o>(on: &'o mut FailoverOn, word: &str) -> Option<&'o mut bool> {
    match word {
        "connect" => Some(&mut on.connect),
        "reset" => Some(&mut on.reset),
        "timeout" => Some(&mut on.timeout),
        "stream_error" => Some(&mut on.stream_error),
        "first_token" => Some(&mut on.first_token),
        _ => None,
    }
}

fn backoff(field: &Field<'_>, base: Backoff, r: &mut Reading<'_>) -> Backoff {
    let s = field.section(r, &["base", "max"]);
    let first = s.or("base", base.base, |f| f.duration(r, SPAN));
    let max = s.or("max", base.max.max(first), |f| f.duration(r, first..=*SPAN.end()));
    Backoff { base: first, max }
}

fn timeouts(field: &Field<'_>, base: Timeouts, r: &mut Reading<'_>) -> Timeouts {
    let s = field.section(r, &["first_token", "whole"]);
    let mut grown = |name, base: Grown, fields: &[&str]| {
        s.or(name, base, |f| {
            let s = f.section(r, fields);
            Some(Grown {
                base: s.or("base", base.base, |f| f.duration(r, SPAN)),
                per_1k_prompt: growth(&s, "per_1k_prompt", base.per_1k_prompt, r),
                per_1k_output: growth(&s, "per_1k_output", base.per_1k_output, r),
            })
        })
    };
    Timeouts {
        first_token: grown("first_token", base.first_token, &["base", "per_1k_prompt"]),
        whole: grown("whole", base.whole, &["base", "per_1k_prompt", "per_1k_output"]),
    }
}

fn growth(section: &Section<'_>, name: &str, base: Duration, r: &mut Reading<'_>) -> Duration {
    section.or(name, base, |f| f.duration(r, GROWTH))
}

/// Larger than this no static answer need be.
const LARGEST_ANSWER: usize = 64 << 10;

fn exhausted(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Exhausted> {
    let s = field.section(r, &["status", "body"]);
    let status = s.or("status", 503, |f| f.small(r, 200..=599));
    let body = s.require("body", r, "a JSON object, or text")?;
    let text = match body.tree() {
        Value::String(text) => text.clone(),
        Value::Object(_) => body.tree().to_string(),
        _ => return body.mistyped(r, "a JSON object, or text"),
    };
    if text.len() > LARGEST_ANSWER {
        body.refuse(r, format!("has {} bytes", text.len()), "at most 64 KiB");
        return None;
    }
    Some(Exhausted {
        status: u16::try_from(status).ok()?,
        body: text,
    })
}

/// Notes a chain that is too long for its way: one composite cluster stands for each order of candidates.
pub(super) fn fits_chain(path: &str, hops: usize, r: &mut Reading<'_>) {
    if hops > MOST_NATIVE_HOPS {
        r.refuse(
            path,
            format!("has {hops} hops"),
            format!("at most {MOST_NATIVE_HOPS} where failover.via is native"),
        );
    }
}

/// Seven orders of three candidates are seven clusters; of five they would be 31.
const MOST_NATIVE_HOPS: usize = 3;
