//! The sections `moderation` and `review`.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::{Ask, Category, Moderation, OnFailure, OnFlagged, Review, ReviewWhen, Target};
use crate::moderation::Side;
use crate::policy::document::bytes;
use crate::policy::error::{list, quote};
use crate::policy::field::{Field, Reading, Section};
use crate::policy::names::{self, PLAIN};
use crate::policy::provider::{AUTHORITY, authority};
use crate::policy::types::{Mode, ModelRoute, Provider, ProviderDialect};
use crate::policy::when::When;
use crate::policy::{limit, secret};

const FIELDS: [&str; 20] = [
    "name",
    "when",
    "on",
    "provider",
    "cluster",
    "authority",
    "credential",
    "path",
    "ask",
    "model",
    "categories",
    "question",
    "flagged",
    "category",
    "timeout",
    "bound",
    "on_flagged",
    "on_failure",
    "mode",
    "thresholds",
];
const SIDES: [(&str, Side); 2] = [("request", Side::Request), ("answer", Side::Answer)];
const FLAGGED: [(&str, OnFlagged); 3] = [
    ("block", OnFlagged::Block),
    ("annotate", OnFlagged::Annotate),
    ("review", OnFlagged::Review),
];
const FAILURE: [(&str, OnFailure); 2] = [("allow", OnFailure::Allow), ("block", OnFailure::Block)];
const WHEN: [(&str, ReviewWhen); 4] = [
    ("flagged", ReviewWhen::Flagged),
    ("guard", ReviewWhen::Guard),
    ("invalid", ReviewWhen::Invalid),
    ("sampled", ReviewWhen::Sampled),
];
/// What of `ask` there is, each with the fields that belong to it alone.
const ASKS: [(&str, &[&str]); 3] = [
    ("moderation", &["categories", "thresholds"]),
    ("model", &["question"]),
    ("http", &["flagged", "category"]),
];
const PATH: &str = "a path that begins with /";
const POINTER: &str = "a JSON pointer that begins with /, such as /flagged";
const SHARE: &str = "a share above 0, up to 1, such as 0.01";
const CLUSTER: &str = "the name of one of Envoy's clusters";
/// A verdict that takes longer is none to wait for.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// What a second model is told of the policy, in bytes.
const LONGEST_QUESTION: usize = 16 << 10;

/// What else of the document the sections need.
pub(in crate::policy) struct Around<'d> {
    pub(in crate::policy) providers: &'d [Provider],
    pub(in crate::policy) routes: &'d [&'d ModelRoute],
}

/// The moderations, in the order written. `reviews`: there is somebody to post to.
pub(in crate::policy) fn moderations(
    field: &Field<'_>,
    around: &Around<'_>,
    reviews: bool,
    r: &mut Reading<'_>,
) -> Vec<Moderation> {
    let mut all: Vec<Moderation> = Vec::new();
    for (index, item) in field.items(r, "a list of moderations").iter().enumerate() {
        let s = item.section(r, &FIELDS);
        let before = all.iter().map(|other| &other.name);
        let name = names::of_item(&s, ("moderation", index), before, r);
        let read = moderation(&s, name, around, r);
        if let Some(field) = s
            .get("on_flagged")
            .filter(|_| !reviews && read.as_ref().is_some_and(|m| m.on_flagged == OnFlagged::Review))
        {
            field.refuse(
                r,
                "has nobody to post to",
                "review with a section review; or block, annotate",
            );
        }
        all.extend(read);
    }
    all
}

fn moderation(s: &Section<'_>, name: String, around: &Around<'_>, r: &mut Reading<'_>) -> Option<Moderation> {
    let when = When::read(s, around.routes, r);
    let on = s
        .require("on", r, "a list of request, answer")
        .map(|f| sides(&f, r));
    let ask = ask(s, r);
    let usual = match ask {
        Some(Ask::Moderation { .. }) => Some("/v1/moderations"),
        Some(Ask::Model { .. }) => Some("/v1/chat/completions"),
        Some(Ask::Http { .. }) | None => None,
    };
    let to = target(s, (around.providers, usual), ask.is_some(), r);
    let on_flagged = s.or("on_flagged", OnFlagged::default(), |f| f.choice(r, &FLAGGED));
    Some(Moderation {
        name,
        when,
        timeout: s.or("timeout", Duration::from_millis(800), |f| f.duration(r, TIMEOUT)),
        bound: s.or("bound", 64 << 10, |f| bytes(&f, r)),
        on_failure: on_failure(s, on_flagged, r),
        on_flagged,
        mode: s.or("mode", Mode::default(), |f| limit::mode(&f, r)),
        on: on?,
        to: to?,
        ask: ask?,
    })
}

fn sides(field: &Field<'_>, r: &mut Reading<'_>) -> Vec<Side> {
    let items = field.items(r, "a list of request, answer");
    if items.is_empty() && field.tree().is_array() {
        field.refuse(r, "is empty", "one or both of: request, answer");
    }
    let mut found: Vec<Side> = items.iter().filter_map(|item| item.choice(r, &SIDES)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// A check that is passed by making it fail is none: what blocks when it flags blocks when it can't tell, unless the policy
/// says otherwise. What only annotates never blocks.
fn on_failure(s: &Section<'_>, on_flagged: OnFlagged, r: &mut Reading<'_>) -> OnFailure {
    let blocks = on_flagged == OnFlagged::Block;
    let usual = if blocks {
        OnFailure::Block
    } else {
        OnFailure::Allow
    };
    let Some(field) = s.get("on_failure") else {
        return usual;
    };
    let said = field.choice(r, &FAILURE).unwrap_or(usual);
    if said == OnFailure::Block && !blocks {
        field.refuse(
            r,
            "blocks what a verdict wouldn't",
            "allow; or block with on_flagged: block",
        );
    }
    said
}

fn ask(s: &Section<'_>, r: &mut Reading<'_>) -> Option<Ask> {
    let words = ASKS.map(|(word, _)| (word, word));
    let kind = s
        .require("ask", r, &list(&ASKS.map(|(word, _)| word)))?
        .choice(r, &words)?;
    for (other, fields) in ASKS.iter().filter(|(other, _)| *other != kind) {
        for field in fields.iter().filter_map(|name| s.get(name)) {
            field.refuse(r, format!("belongs to ask: {other} only"), "no such field");
        }
    }
    match kind {
        "moderation" => Some(Ask::Moderation {
            model: s.or("model", "omni-moderation-latest".to_owned(), |f| model(&f, r)),
            categories: categories(s, r),
        }),
        "model" => {
            let named = s.require("model", r, "the name of the model that judges");
            let question = s.require("question", r, "the policy that texts must keep to, in words");
            let named = named.and_then(|f| model(&f, r));
            let question = question.and_then(|f| words_of(&f, r));
            Some(Ask::Model {
                model: named?,
                question: question?,
            })
        }
        _ => {
            if let Some(field) = s.get("model") {
                field.refuse(r, "belongs to ask: moderation, model only", "no such field");
            }
            let flagged = s.require("flagged", r, POINTER).and_then(|f| pointer(&f, r));
            let category = s.get("category").and_then(|f| pointer(&f, r));
            Some(Ask::Http {
                flagged: flagged?,
                category,
            })
        }
    }
}

fn model(field: &Field<'_>, r: &mut Reading<'_>) -> Option<String> {
    field.parsed(r, names::MODEL, |text| {
        names::is_model(text).then(|| text.to_owned())
    })
}

fn words_of(field: &Field<'_>, r: &mut Reading<'_>) -> Option<String> {
    const ALLOWED: &str = "1 to 16384 bytes of text";
    let text = field.text(r, ALLOWED)?;
    if text.trim().is_empty() || text.len() > LONGEST_QUESTION {
        field.refuse(r, format!("has {} bytes", text.len()), ALLOWED);
        return None;
    }
    Some(text.to_owned())
}

fn pointer(field: &Field<'_>, r: &mut Reading<'_>) -> Option<String> {
    field.parsed(r, POINTER, |text| {
        let fits = text.starts_with('/') && text.len() <= 1_024;
        fits.then(|| text.to_owned())
    })
}

/// Those of the list by the service's own flags, those of the map from their scores on.
fn categories(s: &Section<'_>, r: &mut Reading<'_>) -> Vec<Category> {
    const ALLOWED: &str = "a list of the service's categories, such as [hate, violence]";
    let listed = s.get("categories");
    let listed = listed.map(|f| f.items(r, ALLOWED)).unwrap_or_default();
    let mut found: Vec<Category> = Vec::new();
    for item in listed {
        let name = item.parsed(r, PLAIN, names::plain);
        found.extend(name.map(|name| Category {
            name: name.to_owned(),
            threshold: None,
        }));
    }
    let scored = s.get("thresholds");
    let scored = scored
        .map(|f| f.entries(r, "a map of categories and scores"))
        .unwrap_or_default();
    for (name, field) in scored {
        let threshold = field.number(r, "a score above 0, up to 1", |score| score > 0.0 && score <= 1.0);
        found.retain(|category| category.name != name);
        found.push(Category {
            name: name.to_owned(),
            threshold,
        });
    }
    found
}

/// Where it goes: `provider`, or `cluster` with what belongs to it. `path` may be left out where there is a usual one;
/// `told` says whether that is known.
fn target(
    s: &Section<'_>,
    (providers, usual): (&[Provider], Option<&str>),
    told: bool,
    r: &mut Reading<'_>,
) -> Option<Target> {
    let own = s.get("path");
    if own.is_none() && usual.is_none() && told {
        r.refuse(&s.path_of("path"), "is missing", PATH);
    }
    let own = own.and_then(|f| f.parsed(r, PATH, path));
    let path = own.or(usual.map(str::to_owned));
    match (s.get("provider"), s.get("cluster")) {
        (Some(field), None) => of_provider(s, (&field, providers), path, r),
        (None, Some(field)) => of_cluster(s, &field, path, r),
        (Some(field), Some(_)) => {
            field.refuse(r, "stands beside cluster", "provider or cluster, not both");
            None
        }
        (None, None) => {
            if s.readable {
                let allowed = "a provider of this policy; or cluster, for another service";
                r.refuse(&s.path_of("provider"), "is missing", allowed);
            }
            None
        }
    }
}

fn of_provider(
    s: &Section<'_>,
    (field, providers): (&Field<'_>, &[Provider]),
    path: Option<String>,
    r: &mut Reading<'_>,
) -> Option<Target> {
    let openai = providers.iter().filter(|p| p.dialect == ProviderDialect::OpenAi);
    let known: Vec<&str> = openai.map(|p| p.name.as_str()).collect();
    let allowed = format!("a provider of dialect openai: {}", list(&known));
    for field in ["authority", "credential"].iter().filter_map(|name| s.get(name)) {
        field.refuse(
            r,
            "is the provider's",
            "no such field; or cluster instead of provider",
        );
    }
    let name = field.parsed(r, &allowed, |text| known.contains(&text).then_some(text))?;
    let found = providers.iter().find(|p| p.name == name)?;
    Some(Target {
        cluster: found.cluster.clone(),
        authority: found.authority.clone().unwrap_or_else(|| found.cluster.clone()),
        path: format!("{}{}", found.path_prefix, path?),
        credential: found.credential.clone(),
        of_provider: true,
    })
}

fn of_cluster(
    s: &Section<'_>,
    field: &Field<'_>,
    path: Option<String>,
    r: &mut Reading<'_>,
) -> Option<Target> {
    let cluster = field.parsed(r, PLAIN, names::plain);
    let own = s.get("authority").and_then(|f| f.parsed(r, AUTHORITY, authority));
    let credential = s
        .get("credential")
        .and_then(|f| secret::credential(&f, ProviderDialect::OpenAi, r));
    Some(Target {
        cluster: cluster?.to_owned(),
        authority: own.unwrap_or_else(|| cluster.unwrap_or_default().to_owned()),
        path: path?,
        credential,
        of_provider: false,
    })
}

fn path(text: &str) -> Option<String> {
    let odd = |b: u8| !matches!(b, 0x21..=0x7e) || b == b'#';
    let fits = text.starts_with('/') && text.len() <= 1_024 && !text.bytes().any(odd);
    fits.then(|| text.to_owned())
}

/// What passes unread would pass by those that must judge it.
pub(in crate::policy) fn sees_all(document: &Section<'_>, all: &[Moderation], r: &mut Reading<'_>) {
    let must = |m: &&Moderation| {
        m.mode == Mode::Enforce && m.on_failure == OnFailure::Block && m.on.contains(&Side::Request)
    };
    let Some(judge) = all.iter().find(must) else {
        return;
    };
    for field in ["on_encoded", "on_oversize"]
        .iter()
        .filter_map(|name| document.get(name))
    {
        if field.tree() == "pass" {
            let wrong = format!(
                "would let through what moderation {} must judge",
                quote(&judge.name)
            );
            field.refuse(r, wrong, "reject; or on_failure: allow there");
        }
    }
}

/// Who looks at exchanges.
pub(in crate::policy) fn review(field: &Field<'_>, causes: Causes, r: &mut Reading<'_>) -> Option<Review> {
    let s = field.section(
        r,
        &[
            "cluster",
            "authority",
            "path",
            "credential",
            "when",
            "share",
            "samples",
            "timeout",
            "mode",
        ],
    );
    let when = s.require("when", r, &list(&WHEN.map(|(word, _)| word)));
    let when = when.map(|f| whens(&f, causes, r)).unwrap_or_default();
    let share = share(&s, &when, r);
    let samples = s.or("samples", false, |f| f.flag(r));
    let timeout = s.or("timeout", Duration::from_secs(2), |f| f.duration(r, TIMEOUT));
    let mode = s.or("mode", Mode::default(), |f| limit::mode(&f, r));
    let own = s.require("path", r, PATH).and_then(|f| f.parsed(r, PATH, path));
    let cluster = s.require("cluster", r, CLUSTER);
    let to = cluster.and_then(|f| of_cluster(&s, &f, own, r))?;
    Some(Review {
        to,
        when,
        share,
        samples,
        timeout,
        mode,
    })
}

/// Which sections there are that give people something to look at.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Causes {
    pub(in crate::policy) moderation: bool,
    pub(in crate::policy) guards: bool,
    pub(in crate::policy) validate: bool,
}

fn whens(field: &Field<'_>, causes: Causes, r: &mut Reading<'_>) -> Vec<ReviewWhen> {
    let items = field.items(r, &list(&WHEN.map(|(word, _)| word)));
    if items.is_empty() && field.tree().is_array() {
        field.refuse(r, "is empty", "one or more of: flagged, guard, invalid, sampled");
    }
    let mut found = Vec::new();
    for item in items {
        let Some(when) = item.choice(r, &WHEN) else {
            continue;
        };
        let never = match when {
            ReviewWhen::Flagged => (!causes.moderation).then_some("moderation"),
            ReviewWhen::Guard => (!causes.guards).then_some("guards"),
            ReviewWhen::Invalid => (!causes.validate).then_some("validate"),
            ReviewWhen::Sampled => None,
        };
        if let Some(section) = never {
            item.refuse(
                r,
                "would never be",
                format!("{} with a section {section}", when.as_str()),
            );
        }
        found.push(when);
    }
    found
}

/// Parts of a million.
fn share(s: &Section<'_>, when: &[ReviewWhen], r: &mut Reading<'_>) -> u32 {
    let samples = when.contains(&ReviewWhen::Sampled);
    let Some(field) = s.get("share") else {
        if samples {
            r.refuse(&s.path_of("share"), "is missing", SHARE);
        }
        return 0;
    };
    if !samples {
        field.refuse(r, "belongs to when: sampled only", "no such field");
    }
    let share = field.number(r, SHARE, |share| share > 0.0 && share <= 1.0);
    // Between 1 and a million by the range above.
    share.map_or(0, |share| {
        format!("{:.0}", (share * 1e6).max(1.0)).parse().unwrap_or(0)
    })
}
