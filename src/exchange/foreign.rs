//! Candidates that speak another protocol than the client: whether one can have this request, and in which words.
//!
//! The invariant: what is decided here before a request goes out holds for every attempt, because an attempt can't be
//! refused any more.

use crate::dialect::{Endpoint, RequestFacts};
use crate::policy::{Hop, Incompatible, ModelRoute, Policy, Provider};
use crate::translate::{self, Accepts, Protocol, RequestOptions, Target, Translated};

/// Output asked for where a protocol wants a bound and the client gave none: what all current models grant.
const DEFAULT_MAX_TOKENS: u64 = 8_192;

/// What a client and a provider speak, where that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) client: Protocol,
    pub(super) provider: Protocol,
}

impl Pair {
    /// None where bodies needn't be translated.
    pub(super) fn of(endpoint: Endpoint, provider: &Provider) -> Option<Self> {
        let pair = Self {
            client: Protocol::of(endpoint)?,
            provider: Protocol::spoken_by(provider.dialect),
        };
        (pair.client != pair.provider).then_some(pair)
    }

    /// The client's request in the provider's words; none if it can't be said in them.
    pub(super) fn request(self, body: &[u8], model: &str, stream: bool) -> Option<Translated> {
        let options = RequestOptions {
            model,
            stream,
            default_max_tokens: DEFAULT_MAX_TOKENS,
            accepts: Accepts::default(),
        };
        translate::request(self.client, self.provider, body, &options).ok()
    }
}

/// The path of a client's request at a provider, without the provider's prefix; none if it can't be had there.
pub(super) fn path(endpoint: Endpoint, own: &str, at: (&Provider, &str), stream: bool) -> Option<String> {
    let (provider, model) = at;
    if provider.dialect == endpoint.dialect() {
        return Some(own.to_owned());
    }
    let target = Target {
        dialect: provider.dialect,
        model,
        stream,
        api_version: &provider.api_version,
    };
    translate::path(endpoint, &target)
}

/// The hops of a chain that speak another dialect and can have this request all the same.
pub(super) fn hops(
    policy: &Policy,
    route: &ModelRoute,
    endpoint: Endpoint,
    (facts, body): (&RequestFacts<'_>, &[u8]),
) -> Vec<Hop> {
    let mut judged: Vec<(Protocol, bool)> = Vec::new();
    let mut can = |hop: &Hop| {
        let provider = policy.providers.get(hop.provider)?;
        let model = provider.models.get(hop.model)?.name.as_str();
        if provider.dialect == endpoint.dialect() {
            return None;
        }
        path(endpoint, "", (provider, model), facts.stream)?;
        let Some(pair) = Pair::of(endpoint, provider) else {
            return Some(true);
        };
        let known = judged.iter().find(|(protocol, _)| *protocol == pair.provider);
        let fits = known.map_or_else(
            || fits(route, pair.request(body, model, facts.stream)),
            |(_, fits)| *fits,
        );
        judged.push((pair.provider, fits));
        Some(fits)
    };
    let chain = route.chain.iter();
    chain.filter(|hop| can(hop).unwrap_or(false)).copied().collect()
}

/// The hops of a chain that speak another dialect and have a path for this request. Whether its body can be said there is
/// judged when one of them is about to be asked.
pub(super) fn unjudged(policy: &Policy, route: &ModelRoute, endpoint: Endpoint, stream: bool) -> Vec<Hop> {
    let can = |hop: &Hop| {
        let provider = policy.providers.get(hop.provider)?;
        let model = provider.models.get(hop.model)?.name.as_str();
        let differs = provider.dialect != endpoint.dialect();
        differs.then(|| path(endpoint, "", (provider, model), stream))?
    };
    let chain = route.chain.iter();
    chain.filter(|hop| can(hop).is_some()).copied().collect()
}

/// Whether a hop of another dialect can have this body, as the policy wants it carried over.
pub(super) fn can_have(
    policy: &Policy,
    (route, hop): (&ModelRoute, Hop),
    endpoint: Endpoint,
    (facts, body): (&RequestFacts<'_>, &[u8]),
) -> bool {
    let Some(provider) = policy.providers.get(hop.provider) else {
        return false;
    };
    let Some(pair) = Pair::of(endpoint, provider) else {
        return true;
    };
    let model = provider.models.get(hop.model).map_or("", |m| m.name.as_str());
    fits(route, pair.request(body, model, facts.stream))
}

fn fits(route: &ModelRoute, translated: Option<Translated>) -> bool {
    translated.is_some_and(|translated| match route.failover.incompatible {
        Incompatible::Refuse => translated.dropped.is_empty(),
        Incompatible::Drop => true,
    })
}

/// Headers that belong to one protocol, whoever set them.
pub(super) fn is_protocol_header(name: &[u8]) -> bool {
    name.starts_with(b"anthropic-") || name.starts_with(b"openai-")
}
