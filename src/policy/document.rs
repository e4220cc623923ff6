//! The document as a whole: its sections, read in the order in which they need each other.

use super::error::member;
use super::field::{Field, Reading, Section};
use super::names;
use super::quantity::{self, BYTES};
use super::types::{Anonymous, Bounds, Failover, Host, Mode, ModelRoute, OnUnreadable, Policy};
use super::{callers, chances, failover, fleet, guard, limit, model, moderation, provider, validation};

const FIELDS: [&str; 20] = [
    "version",
    "mode",
    "host",
    "callers",
    "anonymous",
    "attributes",
    "providers",
    "models",
    "limits",
    "validate",
    "guards",
    "tracked_keys",
    "bounds",
    "on_encoded",
    "on_oversize",
    "on_unguarded",
    "failover",
    "moderation",
    "review",
    "fleet",
];
const UNREADABLE: [(&str, OnUnreadable); 2] =
    [("reject", OnUnreadable::Reject), ("pass", OnUnreadable::Pass)];

/// The policy, as far as it can be read; what is wrong is noted.
pub(super) fn policy(root: &Field<'_>, r: &mut Reading<'_>) -> Policy {
    let s = root.section(r, &FIELDS);
    version(&s, r);
    let attributes = s
        .get("attributes")
        .map(|f| callers::attributes(&f, r))
        .unwrap_or_default();
    let providers = s.require("providers", r, "a map with at least one provider");
    let providers = providers.map(|f| provider::providers(&f, r)).unwrap_or_default();
    let common = Failover::default();
    let common = s
        .get("failover")
        .map_or(common.clone(), |f| failover::failover(&f, &common, r));
    let models = s.require("models", r, "a map with at least one model, or * for any");
    let (models, any_model) = models
        .map(|f| model::models(&f, &providers, &common, r))
        .unwrap_or_default();
    let routes: Vec<_> = models.iter().chain(&any_model).collect();
    let validate = s
        .get("validate")
        .map(|f| validation::rules(&f, &routes, r))
        .unwrap_or_default();
    let guards = s
        .get("guards")
        .map(|f| guard::guards(&f, &routes, r))
        .unwrap_or_default();
    let around = moderation::Around {
        providers: &providers,
        routes: &routes,
    };
    let reviews = s.get("review").is_some();
    let moderation = s
        .get("moderation")
        .map(|f| moderation::moderations(&f, &around, reviews, r))
        .unwrap_or_default();
    let causes = moderation::Causes {
        moderation: !moderation.is_empty(),
        guards: !guards.is_empty(),
        validate: !validate.is_empty(),
    };
    let review = s.get("review").and_then(|f| moderation::review(&f, causes, r));
    let host = host(&s, r);
    failover_fits(&s, (&common, &routes), &host, r);
    moderation::sees_all(&s, &moderation, r);
    chances::fit(&s, &validate, (&host, &routes), r);
    let mode = s.or("mode", Mode::default(), |f| limit::mode(&f, r));
    let limits = s
        .get("limits")
        .map(|f| limit::limits(&f, &attributes, r))
        .unwrap_or_default();
    let fleet = fleet::fleet(&s, (&limits, &routes, &validate), r);
    Policy {
        failover: common,
        mode,
        host,
        callers: s
            .get("callers")
            .map(|f| callers::rules(&f, r))
            .unwrap_or_default(),
        anonymous: anonymous(&s, r),
        limits,
        fleet,
        attributes,
        providers,
        models,
        any_model,
        validate,
        guards,
        moderation,
        review,
        tracked_keys: s.or("tracked_keys", 16_384, |f| f.small(r, 16..=1_048_576)),
        bounds: bounds(&s, r),
        on_encoded: s.or("on_encoded", OnUnreadable::default(), |f| {
            f.choice(r, &UNREADABLE)
        }),
        on_oversize: s.or("on_oversize", OnUnreadable::default(), |f| {
            f.choice(r, &UNREADABLE)
        }),
        on_unguarded: s.or("on_unguarded", OnUnreadable::default(), |f| {
            f.choice(r, &UNREADABLE)
        }),
    }
}

fn version(section: &Section<'_>, r: &mut Reading<'_>) {
    if let Some(field) = section.require("version", r, "1") {
        field.whole(r, 1..=1);
    }
}

fn host(section: &Section<'_>, r: &mut Reading<'_>) -> Host {
    let Some(field) = section.get("host") else {
        return Host {
            body_pause: false,
            model_header: None,
        };
    };
    let s = field.section(r, &["body_pause", "model_header"]);
    Host {
        body_pause: s.or("body_pause", false, |f| f.flag(r)),
        model_header: s.get("model_header").and_then(|f| names::request_header(&f, r)),
    }
}

/// Once for the policy's section, and for the entries that differ from it.
fn failover_fits(
    section: &Section<'_>,
    (common, routes): (&Failover, &[&ModelRoute]),
    host: &Host,
    r: &mut Reading<'_>,
) {
    if host.body_pause {
        return drills_fit(section, (common, routes), r);
    }
    failover::fits_host(&section.path_of("failover"), common, None, r);
    let models = section.path_of("models");
    for route in routes {
        let path = format!("{}.failover", member(&models, &route.name));
        failover::fits_host(&path, &route.failover, Some(common), r);
    }
}

fn drills_fit(section: &Section<'_>, (common, routes): (&Failover, &[&ModelRoute]), r: &mut Reading<'_>) {
    let (shared, own): (Vec<_>, Vec<_>) = routes
        .iter()
        .copied()
        .partition(|route| route.failover == *common);
    let path = section.path_of("failover");
    failover::fits_drills(&path, &shared, r);
    let (shared, set): (Vec<_>, Vec<_>) = routes
        .iter()
        .copied()
        .partition(|route| route.failover.drill == common.drill);
    failover::fits_chains(&path, &shared, r);
    let path = |route: &ModelRoute| format!("{}.failover", member(&section.path_of("models"), &route.name));
    for route in own {
        failover::fits_drills(&path(route), &[route], r);
    }
    for route in set {
        failover::fits_chains(&path(route), &[route], r);
    }
}

fn anonymous(section: &Section<'_>, r: &mut Reading<'_>) -> Anonymous {
    let Some(field) = section.get("anonymous") else {
        return Anonymous::default();
    };
    let choice = field.choice(r, &[("shared", Anonymous::Shared), ("reject", Anonymous::Reject)]);
    let nobody = section
        .get("callers")
        .is_none_or(|f| f.tree().as_array().is_some_and(Vec::is_empty));
    if choice == Some(Anonymous::Reject) && nobody {
        field.refuse(
            r,
            "would refuse everybody: there are no callers",
            "reject with at least one entry in callers",
        );
    }
    choice.unwrap_or_default()
}

/// A VM has at most 4 GiB for all its exchanges, so no single body may have more than this.
const LARGEST_BODY: u64 = 256 << 20;

fn bounds(section: &Section<'_>, r: &mut Reading<'_>) -> Bounds {
    let s = section
        .get("bounds")
        .map(|f| f.section(r, &["request_body", "response_body", "sse_line", "exact_count"]));
    let mut size = |name, default| {
        let field = s.as_ref().and_then(|s| s.get(name));
        field.and_then(|f| bytes(&f, r)).unwrap_or(default)
    };
    Bounds {
        request_body: size("request_body", 10 << 20),
        response_body: size("response_body", 2 << 20),
        sse_line: size("sse_line", 1 << 20),
        exact_count: size("exact_count", 256 << 10),
    }
}

/// A size as text or as a plain number of bytes.
pub(super) fn bytes(field: &Field<'_>, r: &mut Reading<'_>) -> Option<usize> {
    let range = 1_024..=LARGEST_BODY;
    let size = match field.tree().is_number() {
        true => field.whole(r, range)?,
        false => {
            let allowed = format!("{BYTES}; from 1KiB to 256MiB");
            field.parsed(r, &allowed, |text| {
                quantity::bytes(text).filter(|size| range.contains(size))
            })?
        }
    };
    usize::try_from(size).ok()
}
