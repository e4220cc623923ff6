//! What a request asks for and where it may go, once its body is read; and what it is told when that is nowhere.

use std::rc::Rc;

use crate::dialect::{Endpoint, RequestFacts};
use crate::ledger::{self, Demand};
use crate::policy::{Hop, Mode, ModelRoute, Policy, ProviderModel, Validation};
use crate::report::metric::PassedOver;
use crate::route::{Need, Search};
use crate::store::Store;
use crate::time::Now;
use crate::tokens::Estimate;

use super::Turn;
use super::callout;
use super::counting::{Counting, Tokens};
use super::foreign;
use super::gateway::Claims;
use super::judge::{Asked, Outgoing, Rule};
use super::refuse::{Refusal, wait_until};

/// What is asked for, and where it may go.
pub(super) struct Plan<'a> {
    pub(super) route: &'a ModelRoute,
    pub(super) facts: &'a RequestFacts<'a>,
    counting: Counting<'a>,
    /// Candidates whose context the prompt exceeds.
    too_long: Vec<Hop>,
    /// Candidates of another dialect that can have it translated.
    pub(super) foreign: Vec<Hop>,
    /// Candidates that refuse something that the request has.
    pub(super) refusing: Vec<Hop>,
    /// The body to judge those by when one is found; none if they are judged.
    pub(super) unjudged: Option<&'a [u8]>,
    /// It can be sent again, if the first that is asked fails.
    pub(super) movable: bool,
    /// What is asked of the answer, beyond a good status.
    pub(super) asked: Option<Rc<Asked>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new<S: Store>(
        turn: &Turn<'_, S>,
        route: &'a ModelRoute,
        facts: &'a RequestFacts<'a>,
    ) -> Self {
        let policy = &turn.gateway.policy;
        let mut plan = Self::bare(policy, route, facts);
        let exceeds = |hop: &&Hop| {
            let model = model_of(policy, Some(**hop));
            model.is_some_and(|model| plan.counting.exceeds_context(model))
        };
        let too_long = route.chain.iter().filter(exceeds).copied().collect();
        plan.too_long = too_long;
        plan
    }

    /// Whether a candidate that was found has too small a context after all, now that its tokens are known.
    pub(super) fn is_too_long<S: Store>(&self, turn: &Turn<'_, S>, hop: Hop, tokens: Tokens) -> bool {
        let policy = &turn.gateway.policy;
        let context = model_of(policy, Some(hop)).and_then(|model| model.context);
        policy.mode == Mode::Enforce && context.is_some_and(|context| tokens.at_least() > context)
    }

    /// The same, for a candidate that was chosen already.
    pub(super) fn bare(policy: &Policy, route: &'a ModelRoute, facts: &'a RequestFacts<'a>) -> Self {
        Self {
            route,
            facts,
            counting: Counting::new(policy, &facts.prompt),
            too_long: Vec::new(),
            foreign: Vec::new(),
            refusing: Vec::new(),
            unjudged: None,
            movable: false,
            asked: None,
        }
    }

    /// What is known of the prompt's tokens at a hop; at the chain's first before one is chosen.
    pub(super) fn tokens<S: Store>(&self, turn: &mut Turn<'_, S>, hop: Option<Hop>) -> Tokens {
        match model_of(&turn.gateway.policy, hop.or(self.route.chain.first().copied())) {
            Some(model) => self.counting.of(model, turn.counter),
            None => Tokens::default(),
        }
    }

    /// The same, counted as far as it takes to say whether the texts have more tokens than `room`.
    pub(super) fn tokens_within<S: Store>(&self, turn: &mut Turn<'_, S>, hop: Hop, room: u64) -> Tokens {
        match model_of(&turn.gateway.policy, Some(hop)) {
            Some(model) => self.counting.decide(model, room, turn.counter),
            None => Tokens::default(),
        }
    }

    pub(super) fn need(&self, endpoint: Endpoint) -> Need<'_> {
        Need {
            dialect: endpoint.dialect(),
            foreign: &self.foreign,
            too_long: &self.too_long,
            refusing: &self.refusing,
        }
    }

    pub(super) fn demand(&self, endpoint: Endpoint, tokens: Tokens) -> Demand {
        tokens.demand(Demand {
            max_output: self.facts.max_tokens,
            choices: self.facts.choices,
            generates: endpoint.generates(),
            ..Demand::default()
        })
    }

    /// The estimate that the provider's bill may teach something: not where it bills what isn't in the body, or isn't seen.
    pub(super) fn guess(&self, tokens: Tokens) -> Option<Estimate> {
        let whole = !self.facts.pinned && !self.facts.prompt.unseen;
        tokens.guess().filter(|_| whole)
    }

    /// Whether a candidate that was found can't have the request in its own protocol after all.
    pub(super) fn unfit(&self, policy: &Policy, endpoint: Endpoint, hop: Hop) -> bool {
        let Some(body) = self.unjudged.filter(|_| self.foreign.contains(&hop)) else {
            return false;
        };
        !foreign::can_have(policy, (self.route, hop), endpoint, (self.facts, body))
    }

    /// The model of this chain at a provider chosen already.
    pub(super) fn on_provider(&self, chosen: Hop) -> Option<Hop> {
        let same = |hop: &&Hop| hop.provider == chosen.provider;
        let exact = self.route.chain.iter().find(|hop| **hop == chosen);
        exact.or_else(|| self.route.chain.iter().find(same)).copied()
    }

    /// The provider's name of the model, where it differs from the client's.
    pub(super) fn renamed<'p>(&self, policy: &'p Policy, hop: Hop) -> Option<&'p str> {
        let model = policy.providers.get(hop.provider)?.models.get(hop.model)?;
        (model.name != *self.facts.model).then_some(model.name.as_str())
    }

    pub(super) fn injects_usage(&self, policy: &Policy, hop: Hop, endpoint: Endpoint) -> bool {
        let provider = policy.providers.get(hop.provider);
        let wanted = provider.is_some_and(|p| p.include_usage);
        let speaks = matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        wanted && speaks && self.facts.stream && self.facts.include_usage != Some(true)
    }

    /// Remembers what the answer must meet, by the first validation that applies of those that match the headers.
    pub(super) fn ask<S: Store>(
        &mut self,
        turn: &Turn<'_, S>,
        rules: &[usize],
        (facts, body): (&RequestFacts<'_>, &[u8]),
    ) {
        let policy = &turn.gateway.policy;
        let rule = self.rule(policy, rules);
        let request = Outgoing {
            endpoint: facts.endpoint(),
            facts,
            body,
            room: callout::room(turn.load),
        };
        let asked = rule.and_then(|rule| Asked::of(policy, rule, request));
        self.asked = asked.map(Rc::new);
    }

    /// Whether somebody may be asked again for an answer that fails what it must meet.
    pub(super) fn asks_again(&self, policy: &Policy) -> bool {
        let rule = self.asked.as_ref().and_then(|asked| Rule::of(policy, asked.rule));
        policy.host.body_pause && rule.is_some_and(|rule| rule.asks(policy))
    }

    /// What a stream must begin with, lest it be asked of the next candidate: one of these characters.
    pub(super) fn opening(&self, policy: &Policy) -> Option<String> {
        let asked = self.asked.as_deref()?;
        let plain = self.facts.stream && self.facts.choices == 1;
        Rule::of(policy, asked.rule)
            .filter(|_| plain)?
            .opening(policy, asked)
    }

    fn rule(&self, policy: &Policy, rules: &[usize]) -> Option<usize> {
        let concerns = |rule: &Validation| rule.when.concerns(&self.route.name);
        let applies = |at: &usize| policy.validate.get(*at).is_some_and(concerns);
        rules.iter().copied().find(applies)
    }

    /// Over what any provider ever takes.
    pub(super) fn too_long_for_all(&self, tokens: u64) -> Refusal {
        too_long_for_all(tokens, &self.route.name)
    }
}

fn model_of(policy: &Policy, hop: Option<Hop>) -> Option<&ProviderModel> {
    let hop = hop?;
    policy.providers.get(hop.provider)?.models.get(hop.model)
}

/// Why no candidate was left.
pub(super) fn nobody(search: &Search<'_>, name: &str, tokens: u64, now: Now) -> Refusal {
    if search.all(PassedOver::Dialect) {
        return Refusal::unknown_model(format!("model {name:?} isn't served by this API"));
    }
    if search.all_of(&[PassedOver::Dialect, PassedOver::Refuses]) {
        return unsupported(name);
    }
    let unfit = |why: &PassedOver| {
        matches!(
            why,
            PassedOver::Dialect | PassedOver::Context | PassedOver::Refuses
        )
    };
    if search.passed.iter().all(|(_, why)| unfit(why)) {
        return too_long_for_all(tokens, name);
    }
    Refusal::unavailable(wait_until(search.earliest, now))
}

fn too_long_for_all(tokens: u64, name: &str) -> Refusal {
    Refusal::never(format!(
        "the prompt's about {tokens} tokens are more than any context of model {name:?} holds"
    ))
}

/// A candidate takes the model's requests, but not with all that this one has.
pub(super) fn unsupported(name: &str) -> Refusal {
    let message = format!(
        "no provider of model {name:?} takes all that this request asks for; see the policy's refuses"
    );
    Refusal::bad_request(&message, "unsupported_parameter")
}

/// Over what a limit of the caller's can ever admit.
pub(super) fn too_long(claims: &Claims<'_>, never: &ledger::Never) -> Refusal {
    let name = claims
        .claims
        .get(never.claim)
        .map_or("", |c| c.limit.name.as_str());
    Refusal::never(format!(
        "the prompt's about {} tokens are more than limit {name:?} can ever admit at once ({})",
        never.needed, never.capacity
    ))
}

pub(super) fn unknown(policy: &Policy, asked: &str) -> String {
    let names: Vec<&str> = policy.models.iter().map(|m| m.name.as_str()).collect();
    format!(
        "model {asked:?} isn't served here; served are {}",
        names.join(", ")
    )
}

pub(super) fn unroutable(policy: &Policy) -> String {
    match &policy.host.model_header {
        Some(header) => format!("header {header:?} names no model that is served here"),
        None => "no route is set for requests whose model isn't known from their headers".into(),
    }
}

pub(super) fn misrouted(policy: &Policy, model: &str) -> String {
    let header = policy.host.model_header.as_deref().unwrap_or("x-model");
    format!(
        "model {model:?} isn't served by the provider that this request's headers chose; name it in {header:?}"
    )
}
