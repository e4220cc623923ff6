//! What all exchanges of a worker share, and what one callback works with.

use crate::body::cache::Schemas;
use crate::breaker::{self, Breakers, Scope, Transition};
use crate::failover::Load;
use crate::headers::mark;
use crate::ledger::{self, Claim, Groups, Ledger};
use crate::policy::{CallerRule, Hop, Limit, Mode, ModelRoute, Per, Policy};
use crate::report::Metric;
use crate::report::metric::LimitRef;
use crate::route::{Need, Search};
use crate::store::Store;
use crate::time::Now;
use crate::tokens::exact::Counter;

use super::callout::by_callout;
use super::errand::Errand;
use super::identify::Who;
use super::relay;

/// The policy with what was derived from it. Never changes; a new policy makes a new one.
#[derive(Debug)]
pub struct Gateway {
    /// What the operator decided.
    pub policy: Policy,
    /// The ledger of this policy's size.
    pub ledger: Ledger,
    /// Lower-case names of headers that name callers, or carry credentials; sorted.
    identities: Vec<String>,
    /// Their marks, see [`mark`].
    identity_marks: u64,
    /// A limit counts by the host's route.
    counts_routes: bool,
    /// A limit of callers counts each provider by itself.
    counts_providers: bool,
    /// What the providers' breakers are known by, index for index.
    breakers: Vec<breaker::Identity>,
    /// Some model's requests are sent again by the host's router.
    is_native: bool,
    /// Some model's requests are sent again by callouts.
    calls_out: bool,
    /// Headers by which clients say how long they wait, each once.
    deadlines: Vec<String>,
}

/// Credentials of all dialects, and a browser's: whatever of them a client sends stops here.
const CREDENTIALS: [&str; 6] = [
    "api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "x-goog-api-key",
];

/// What a callback leaves behind for the shell: counted, or to be tried again by the tick.
#[derive(Debug, Default)]
pub struct Effects {
    /// Counters to add to, gauges to set, histograms to record in.
    pub metrics: Vec<(Metric, u64)>,
    /// Bookings that lost their race too often.
    pub bookings: Vec<ledger::Pending>,
    /// Breaker transitions that did, with their provider.
    pub transitions: Vec<(usize, breaker::PendingTransition)>,
    /// Breakers that changed their state: to be said in the log.
    pub changes: Vec<Change>,
    /// What the other role is to find in the stream's filter state.
    pub properties: Vec<(String, Vec<u8>)>,
    /// Calls that no exchange waits for: made by the tick.
    pub errands: Vec<Errand>,
}

/// A breaker of a provider changed its state.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Whose, and which model's if it is the model's breaker.
    pub hop: Hop,
    /// From what to what, and why.
    pub transition: Transition,
}

impl Change {
    /// The line for the log.
    #[must_use]
    pub fn describe(&self, policy: &Policy) -> String {
        let Transition {
            from,
            to,
            scope,
            cause,
        } = self.transition;
        let provider = policy.providers.get(self.hop.provider);
        let model = provider.and_then(|p| p.models.get(self.hop.model));
        let whose = match (scope, model) {
            (Scope::Model, Some(model)) => format!("/{}", model.name),
            (Scope::Model | Scope::Provider, _) => String::new(),
        };
        format!(
            "breaker of {}{whose}: {} -> {} ({})",
            provider.map_or("", |p| p.name.as_str()),
            from.as_str(),
            to.as_str(),
            cause.as_str()
        )
    }
}

/// One callback: what there is to work with, and where effects go.
pub struct Turn<'a, S: Store> {
    /// What all exchanges share.
    pub gateway: &'a Gateway,
    /// The store of the process.
    pub store: &'a S,
    /// Both clocks.
    pub now: Now,
    /// A random number, fresh for this callback.
    pub entropy: u64,
    /// Counts tokens exactly, for all exchanges of the worker.
    pub counter: &'a mut Counter,
    /// What this worker has under way.
    pub load: Load,
    /// Schemas that came with requests, of all exchanges of the worker.
    pub schemas: &'a mut Schemas,
    /// Where effects go.
    pub effects: &'a mut Effects,
}

/// Limits that apply to a request, and which of the policy's they are; index for index.
#[derive(Debug, Default)]
pub(super) struct Claims<'p> {
    pub(super) claims: Vec<Claim<'p>>,
    pub(super) sources: Vec<LimitRef>,
}

impl<'p> Claims<'p> {
    /// Those of them that are wanted.
    pub(super) fn only(self, wanted: impl Fn(&Claim<'p>) -> bool) -> Self {
        let both = self.claims.into_iter().zip(self.sources);
        let (claims, sources) = both.filter(|(claim, _)| wanted(claim)).unzip();
        Self { claims, sources }
    }
}

/// Group of the caller's own limits in a refusal.
pub(super) const CALLERS: u8 = 0;
/// Group of the provider's limits.
pub(super) const PROVIDERS: u8 = 1;
/// Group of the caller's limits that count each provider by itself.
const EACH: u8 = 2;
/// What counts what one provider was sent, so that it is settled with the attempt there.
pub(super) const THERE: Groups = Groups::of(PROVIDERS).with(EACH);

/// Whom attempts at other providers than the first are charged to, where a limit counts each provider by itself.
#[derive(Clone, Debug)]
pub(super) struct Payer {
    pub(super) who: Who,
    /// The policy's entry.
    pub(super) model: String,
}

impl Payer {
    pub(super) fn named(&self) -> (&Who, &str) {
        (&self.who, &self.model)
    }
}

impl Gateway {
    /// Derives what a policy's exchanges need again and again.
    #[must_use]
    pub fn new(policy: Policy, ledger: Ledger) -> Self {
        let asks_again = policy.mode == Mode::Enforce && policy.validate.iter().any(|v| v.on_invalid.asks());
        let calls_out = asks_again || routes(&policy).any(|route| by_callout(&policy, &route.failover));
        let is_native = routes(&policy).any(|route| relay::is_native(&policy, route));
        let identities = identities(&policy);
        let marks = identities.iter().map(|name| mark(name.as_bytes()));
        Self {
            identity_marks: marks.fold(0, |all, one| all | one),
            identities,
            counts_routes: policy.limits.iter().any(|l| l.per.contains(&Per::Route)),
            counts_providers: policy.limits.iter().any(|l| l.per.contains(&Per::Provider)),
            breakers: policy.providers.iter().map(breaker::Identity::of).collect(),
            is_native,
            calls_out,
            deadlines: deadlines(&policy),
            policy,
            ledger,
        }
    }

    /// The policy's entry for a model that a client names.
    #[must_use]
    pub fn route(&self, model: &str) -> Option<&ModelRoute> {
        let models = &self.policy.models;
        let found = models
            .binary_search_by(|entry| entry.name.as_str().cmp(model))
            .ok();
        found
            .and_then(|at| models.get(at))
            .or(self.policy.any_model.as_ref())
    }

    /// The breakers of a provider.
    #[must_use]
    pub fn breakers(&self, provider: usize) -> Option<Breakers<'_>> {
        let found = self.policy.providers.get(provider)?;
        Some(Breakers::known(found, self.breakers.get(provider)?))
    }

    /// A walk along a chain of candidates.
    pub(super) fn search<'g>(&'g self, route: &'g ModelRoute, need: Need<'g>) -> Search<'g> {
        Search::new(&self.policy, &self.breakers, route, need)
    }

    /// Whether a header names the caller or carries a credential, so that it stops here.
    pub(super) fn is_identity(&self, name: &[u8]) -> bool {
        let find = || {
            self.identities
                .binary_search_by(|other| other.as_bytes().cmp(name))
        };
        self.identity_marks & mark(name) != 0 && find().is_ok()
    }

    /// Whether some model's requests are sent again by the host's router.
    pub(super) fn is_native(&self) -> bool {
        self.is_native
    }

    /// Whether some model's requests are sent again by callouts.
    #[must_use]
    pub fn calls_out(&self) -> bool {
        self.calls_out
    }

    /// Whether a header steers the host's router, which is ours alone where it fails over.
    pub(super) fn is_steering(&self, name: &[u8]) -> bool {
        (self.is_native || self.calls_out) && name.starts_with(b"x-envoy-")
    }

    /// Whether exchanges wait for calls of any kind, or leave errands: the tick is to come often.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.calls_out || !self.policy.moderation.is_empty() || self.policy.review.is_some()
    }

    /// The headers by which clients say how long they wait.
    pub(super) fn deadlines(&self) -> &[String] {
        &self.deadlines
    }

    /// Whether a limit counts by the host's route.
    pub(super) fn counts_routes(&self) -> bool {
        self.counts_routes
    }

    /// Who pays for attempts at one provider and another, if a limit of callers tells these apart.
    pub(super) fn payer(&self, who: &Who, model: &str) -> Option<Box<Payer>> {
        self.counts_providers.then(|| {
            Box::new(Payer {
                who: who.clone(),
                model: model.to_owned(),
            })
        })
    }

    /// The callers' limits that apply. A limit per model or provider is left out while that isn't known.
    pub(super) fn claims(&self, who: &Who, model: Option<&str>, provider: Option<usize>) -> Claims<'_> {
        let mut found = Claims::default();
        for (at, limit) in self.policy.limits.iter().enumerate() {
            if let Some(claim) = self.claim(limit, who, model, provider) {
                found.claims.push(claim);
                found.sources.push(LimitRef::Caller(at));
            }
        }
        if let Some(provider) = provider {
            self.provider_claims(provider, &mut found);
        }
        found
    }

    fn claim<'p>(
        &self,
        limit: &'p Limit,
        who: &Who,
        model: Option<&str>,
        provider: Option<usize>,
    ) -> Option<Claim<'p>> {
        let provider = provider
            .and_then(|p| self.policy.providers.get(p))
            .map(|p| p.name.as_str());
        let mut parts: Vec<&[u8]> = Vec::with_capacity(limit.per.len());
        for per in &limit.per {
            parts.push(match per {
                Per::Caller => &who.id,
                Per::Model => model?.as_bytes(),
                Per::Provider => provider?.as_bytes(),
                Per::Route => &who.route,
                Per::Attribute(at) => who.attributes.get(*at).map_or(&[][..], Vec::as_slice),
            });
        }
        let key = if limit.per.contains(&Per::Caller) {
            self.ledger.key(limit, &who.id, &parts)
        } else {
            self.ledger
                .key(limit, &self.ledger.hash(&parts).to_le_bytes(), &parts)
        };
        Some(Claim {
            limit,
            key,
            group: if limit.per.contains(&Per::Provider) {
                EACH
            } else {
                CALLERS
            },
        })
    }

    /// What a provider grants us, and what the caller may send it.
    pub(super) fn claims_there(&self, who: Option<(&Who, &str)>, provider: usize) -> Claims<'_> {
        if let Some((who, model)) = who.filter(|_| self.counts_providers) {
            let all = self.claims(who, Some(model), Some(provider));
            return all.only(|claim| THERE.contains(claim.group));
        }
        let mut found = Claims::default();
        self.provider_claims(provider, &mut found);
        found
    }

    fn provider_claims<'p>(&'p self, provider: usize, found: &mut Claims<'p>) {
        let Some(owner) = self.policy.providers.get(provider) else {
            return;
        };
        let name = owner.name.as_bytes();
        for (at, limit) in owner.limits.iter().enumerate() {
            let key = self.ledger.key(limit, name, &[name]);
            found.claims.push(Claim {
                limit,
                key,
                group: PROVIDERS,
            });
            found.sources.push(LimitRef::Provider(provider, at));
        }
    }
}

fn routes(policy: &Policy) -> impl Iterator<Item = &ModelRoute> {
    policy.models.iter().chain(&policy.any_model)
}

fn deadlines(policy: &Policy) -> Vec<String> {
    let mut names: Vec<String> = routes(policy)
        .filter_map(|route| route.failover.deadline_header.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn identities(policy: &Policy) -> Vec<String> {
    let rules = policy.callers.iter().filter_map(|rule| match rule {
        CallerRule::Header(name) => Some(name.as_str()),
        CallerRule::Bearer(_) | CallerRule::Jwt { .. } => None,
    });
    let attributes = policy.attributes.iter().map(|a| a.header.as_str());
    let credentials = policy.providers.iter().filter_map(|p| p.credential.as_ref());
    let names = CREDENTIALS.into_iter().chain(rules).chain(attributes);
    let mut names: Vec<String> = names
        .chain(credentials.map(|c| c.header.as_str()))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl<S: Store> Turn<'_, S> {
    /// Adds one to a counter.
    pub fn count(&mut self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Adds to a counter, sets a gauge or records in a histogram.
    pub fn add(&mut self, metric: Metric, value: u64) {
        self.effects.metrics.push((metric, value));
    }

    /// Whether the whole policy only watches.
    #[must_use]
    pub fn in_shadow(&self) -> bool {
        self.gateway.policy.mode == Mode::Shadow
    }
}
