//! What clients may ask for, and the chains it may take.

use super::error::{list, quote};
use super::failover;
use super::field::{Field, Reading};
use super::names::{self, MODEL};
use super::types::{Failover, Hop, ModelRoute, Provider, Via, WhenAllOpen};

/// The routes, in the order of the names, and the catch-all.
pub(super) fn models(
    field: &Field<'_>,
    providers: &[Provider],
    common: &Failover,
    r: &mut Reading<'_>,
) -> (Vec<ModelRoute>, Option<ModelRoute>) {
    let entries = field.entries(r, "a map of models");
    if entries.is_empty() && field.tree().is_object() {
        field.refuse(r, "is empty", "at least one model, or * for any");
    }
    let routes = entries.iter().map(|(name, field)| ModelRoute {
        name: entry_name(name, field, r),
        ..route(field, providers, common, r)
    });
    let (mut any, named): (Vec<_>, Vec<_>) = routes.partition(|route| route.name == "*");
    (named, any.pop())
}

const ALL_OPEN: [(&str, WhenAllOpen); 3] = [
    ("throttle", WhenAllOpen::Throttle),
    ("reject", WhenAllOpen::Reject),
    ("least_bad", WhenAllOpen::LeastBad),
];

fn entry_name(name: &str, field: &Field<'_>, r: &mut Reading<'_>) -> String {
    if name != "*" && !names::is_model(name) {
        field.refuse(
            r,
            format!("{} can't be a model's name", quote(name)),
            format!("{MODEL}; or * for any model"),
        );
    }
    name.to_owned()
}

/// The entry, but for its name.
fn route(field: &Field<'_>, providers: &[Provider], common: &Failover, r: &mut Reading<'_>) -> ModelRoute {
    let s = field.section(r, &["chain", "when_all_open", "failover"]);
    let hops = s.require("chain", r, "a list of PROVIDER/MODEL, best first");
    let chain = hops.map(|f| chain(&f, providers, r)).unwrap_or_default();
    let failover = s
        .get("failover")
        .map_or_else(|| common.clone(), |f| failover::failover(&f, common, r));
    if failover.via == Via::Native {
        failover::fits_chain(&s.path_of("chain"), chain.len(), r);
    }
    ModelRoute {
        name: String::new(),
        chain,
        failover,
        when_all_open: s.or("when_all_open", WhenAllOpen::default(), |f| {
            f.choice(r, &ALL_OPEN)
        }),
    }
}

/// More hops than this no client waits for.
const MOST_HOPS: usize = 16;

fn chain(field: &Field<'_>, providers: &[Provider], r: &mut Reading<'_>) -> Vec<Hop> {
    let items = field.items(r, "a list of PROVIDER/MODEL, best first");
    if field.tree().is_array() && !(1..=MOST_HOPS).contains(&items.len()) {
        let wrong = format!("has {} hops", items.len());
        field.refuse(r, wrong, format!("1 to {MOST_HOPS} of: {}", all_hops(providers)));
    }
    let mut chain = Vec::new();
    for item in items {
        match hop(&item, providers, r) {
            Some(hop) if chain.contains(&hop) => item.refuse(r, "stands in the chain twice", "each hop once"),
            Some(hop) => chain.push(hop),
            None => {}
        }
    }
    chain
}

fn hop(field: &Field<'_>, providers: &[Provider], r: &mut Reading<'_>) -> Option<Hop> {
    let text = field.text(r, "PROVIDER/MODEL")?;
    if providers.is_empty() {
        // Told already, once.
        return None;
    }
    let (provider_name, model_name) = text.split_once('/').unwrap_or((text, ""));
    let Some(provider) = providers.iter().position(|p| p.name == provider_name) else {
        field.refuse(
            r,
            format!("there is no provider {}", quote(provider_name)),
            all_hops(providers),
        );
        return None;
    };
    let found = providers.get(provider)?;
    let model = found.models.iter().position(|m| m.name == model_name);
    if model.is_none() && !found.models.is_empty() {
        let wrong = format!("provider {provider_name} lists no model {}", quote(model_name));
        field.refuse(r, wrong, list(&hops_of(found)));
    }
    Some(Hop {
        provider,
        model: model?,
    })
}

fn all_hops(providers: &[Provider]) -> String {
    let hops: Vec<String> = providers.iter().flat_map(hops_of).collect();
    list(&hops)
}

fn hops_of(provider: &Provider) -> Vec<String> {
    provider
        .models
        .iter()
        .map(|model| format!("{}/{}", provider.name, model.name))
        .collect()
}
