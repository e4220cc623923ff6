//! Candidates that speak another protocol than the client: whether one can have this request, and in which words.
//!
//! The invariant: what is decided here before a request goes out holds for every attempt, because an attempt can't be
//! refused any more.

use crate::dialect::{Endpoint, Fitted, RequestFacts, fitted};
use crate::policy::{Hop, Incompatible, ModelRoute, Policy, Provider, ProviderDialect, ProviderModel};
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
    pub(super) fn request(self, body: &[u8], model: &ProviderModel, stream: bool) -> Option<Translated> {
        let options = RequestOptions {
            model: &model.name,
            stream,
            default_max_tokens: DEFAULT_MAX_TOKENS,
            accepts: Accepts {
                effort: model.accepts.effort,
                schema: model.accepts.schema,
                ..Accepts::default()
            },
        };
        let before = fitted(self.client.endpoint(), body, &model.refuses);
        let body = before.as_ref().map_or(body, |fitted| &fitted.body);
        let mut translated = translate::request(self.client, self.provider, body, &options).ok()?;
        // What only the provider's protocol has, and the name of its bound.
        if let Some(after) = fitted(self.provider.endpoint(), &translated.body, &model.refuses) {
            translated.body = after.body;
            translated.dropped.extend(after.dropped);
        }
        let named = before.into_iter().flat_map(|fitted| fitted.dropped);
        translated.dropped.extend(named);
        Some(translated)
    }
}

/// The client's body, in its own protocol, without what a model refuses; none when nothing changes.
pub(super) fn without_refused(
    policy: &Policy,
    (endpoint, hop): (Endpoint, Hop),
    body: &[u8],
) -> Option<Fitted> {
    fitted(endpoint, body, &model_of(policy, hop)?.1.refuses)
}

/// The hops of a chain that would have the body in its own protocol, and refuse something in it that they mustn't be sent
/// without.
pub(super) fn refusing(policy: &Policy, route: &ModelRoute, (endpoint, body): (Endpoint, &[u8])) -> Vec<Hop> {
    if route.failover.incompatible == Incompatible::Drop {
        return Vec::new();
    }
    let refuses = |hop: &&Hop| {
        let provider = policy.providers.get(hop.provider);
        let own = provider.is_some_and(|provider| Pair::of(endpoint, provider).is_none());
        let fitted = without_refused(policy, (endpoint, **hop), body).filter(|_| own);
        fitted.is_some_and(|fitted| !fitted.dropped.is_empty())
    };
    route.chain.iter().filter(refuses).copied().collect()
}

fn model_of(policy: &Policy, hop: Hop) -> Option<(&Provider, &ProviderModel)> {
    let provider = policy.providers.get(hop.provider)?;
    Some((provider, provider.models.get(hop.model)?))
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
    let mut judged: Vec<((Protocol, &ProviderModel), bool)> = Vec::new();
    let mut can = |hop: &Hop| {
        let (provider, model) = model_of(policy, *hop)?;
        if provider.dialect == endpoint.dialect() {
            return None;
        }
        path(endpoint, "", (provider, &model.name), facts.stream)?;
        let Some(pair) = Pair::of(endpoint, provider) else {
            return Some(true);
        };
        let alike = |(protocol, other): (Protocol, &ProviderModel)| {
            protocol == pair.provider && other.refuses == model.refuses && other.accepts == model.accepts
        };
        let known = judged.iter().find(|(judged, _)| alike(*judged));
        let fits = known.map_or_else(
            || fits(route, pair.request(body, model, facts.stream)),
            |(_, fits)| *fits,
        );
        judged.push(((pair.provider, model), fits));
        Some(fits)
    };
    let chain = route.chain.iter();
    chain.filter(|hop| can(hop).unwrap_or(false)).copied().collect()
}

/// The hops of a chain that speak another dialect and have a path for this request. Whether its body can be said there is
/// judged when one of them is about to be asked.
pub(super) fn unjudged(policy: &Policy, route: &ModelRoute, endpoint: Endpoint, stream: bool) -> Vec<Hop> {
    let can = |hop: &Hop| {
        let (provider, model) = model_of(policy, *hop)?;
        let differs = provider.dialect != endpoint.dialect();
        differs.then(|| path(endpoint, "", (provider, &model.name), stream))?
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
    let Some((provider, model)) = model_of(policy, hop) else {
        return false;
    };
    let Some(pair) = Pair::of(endpoint, provider) else {
        return true;
    };
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
    dialect_of(name).is_some()
}

/// Those that belong to another protocol than a client's: for nobody that it is sent to.
pub(super) fn is_stray_header(name: &[u8], client: ProviderDialect) -> bool {
    dialect_of(name).is_some_and(|dialect| dialect != client)
}

fn dialect_of(name: &[u8]) -> Option<ProviderDialect> {
    if name.starts_with(b"anthropic-") {
        Some(ProviderDialect::Anthropic)
    } else if name.starts_with(b"openai-") {
        Some(ProviderDialect::OpenAi)
    } else {
        None
    }
}

/// Headers of OpenAI's protocol that name an account, which is one at one provider: the chain's first.
pub(super) const ACCOUNTS: [&str; 2] = ["openai-organization", "openai-project"];

/// Whether a header that a client set is for this candidate of those that speak its protocol.
pub(super) fn is_meant_for(name: &str, route: &ModelRoute, hop: Hop) -> bool {
    !ACCOUNTS.contains(&name) || route.chain.first() == Some(&hop)
}
