//! The orders in which a policy lets the host's router try candidates: each is one cluster of its own.
//!
//! Its invariant: whatever the gateway role may ask of the router (a chain's candidates in the chain's order, some of
//! them passed over, in a drill the first of them put second, no more than there are attempts) is one of these, under the
//! name that it asks for.

use spillway::policy::{Failover, Hop, ModelRoute, Policy, Provider, Via};

/// Candidates in the order in which they are tried.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    /// Indices into the policy's providers.
    pub(crate) providers: Vec<usize>,
    /// How often one provider alone may be asked; for several, their number.
    pub(crate) attempts: u32,
    /// `failover.retry_budget`; of several entries' the largest.
    pub(crate) budget: f64,
}

impl Order {
    /// The name that the gateway role asks for.
    pub(crate) fn name(&self, policy: &Policy) -> String {
        let named = self.places(policy).map(|provider| provider.name.as_str());
        named.fold("spillway".to_owned(), |name, provider| name + "+" + provider)
    }

    /// The providers, best first.
    pub(crate) fn places<'p>(&self, policy: &'p Policy) -> impl Iterator<Item = &'p Provider> {
        self.providers.iter().filter_map(|at| policy.providers.get(*at))
    }

    /// Each attempt's provider: a single one again and again.
    pub(crate) fn tries<'p>(&self, policy: &'p Policy) -> Vec<&'p Provider> {
        let places: Vec<&Provider> = self.places(policy).collect();
        let attempts = usize::try_from(self.attempts).unwrap_or(usize::MAX);
        let count = places.len().max(attempts);
        places.iter().copied().cycle().take(count).collect()
    }

    /// Whether one provider is asked again and again: attempts after the first are bounded by the retry budget.
    pub(crate) fn repeats(&self) -> bool {
        self.providers.len() == 1
    }

    fn joined(&mut self, other: &Self) {
        self.attempts = self.attempts.max(other.attempts);
        self.budget = self.budget.max(other.budget);
    }
}

/// Every order that the policy's native chains allow, longer ones first, each once.
pub(crate) fn orders(policy: &Policy) -> Vec<Order> {
    let mut found: Vec<Order> = Vec::new();
    for order in native(policy).flat_map(of_chain) {
        match found.iter_mut().find(|known| known.providers == order.providers) {
            Some(known) => known.joined(&order),
            None => found.push(order),
        }
    }
    found.sort_by_key(|order| std::cmp::Reverse(order.providers.len()));
    found
}

/// The entries that fail over by the host's router.
pub(crate) fn native(policy: &Policy) -> impl Iterator<Item = &ModelRoute> {
    let routes = policy.models.iter().chain(&policy.any_model);
    routes.filter(|route| route.failover.via == Via::Native)
}

fn of_chain(route: &ModelRoute) -> impl Iterator<Item = Order> {
    let most = usize::try_from(route.failover.attempts).unwrap_or(usize::MAX);
    let chain: Vec<usize> = route.chain.iter().map(|hop| hop.provider).collect();
    let drilled = if route.failover.drill > 0.0 {
        drilled(&chain)
    } else {
        Vec::new()
    };
    let orders = subsets(&chain).into_iter().chain(drilled);
    let fits = move |order: &Vec<usize>| (1..=most).contains(&order.len());
    let orders = orders.map(one_each).filter(fits);
    orders.map(|providers| order(providers, &route.failover))
}

/// Each provider once, as the gateway role asks for them: another model of the same is a repeat there, if nobody else is left.
fn one_each(order: Vec<usize>) -> Vec<usize> {
    let mut once: Vec<usize> = Vec::with_capacity(order.len());
    for provider in order {
        if !once.contains(&provider) {
            once.push(provider);
        }
    }
    once
}

fn order(providers: Vec<usize>, failover: &Failover) -> Order {
    let attempts = match providers.len() {
        0 | 1 => failover.attempts,
        several => u32::try_from(several).unwrap_or(u32::MAX),
    };
    Order {
        providers,
        attempts,
        budget: failover.retry_budget,
    }
}

/// All subsets, in the list's order: first those with its first item.
fn subsets(list: &[usize]) -> Vec<Vec<usize>> {
    let Some((first, rest)) = list.split_first() else {
        return vec![Vec::new()];
    };
    let without = subsets(rest);
    let with = without.iter().map(|tail| [&[*first], tail.as_slice()].concat());
    with.chain(without.iter().cloned()).collect()
}

/// What a drill asks for: another candidate first, then the chain as it is, since a drill is over with the first failure.
fn drilled(chain: &[usize]) -> Vec<Vec<usize>> {
    let Some((primary, rest)) = chain.split_first() else {
        return Vec::new();
    };
    // It is of another provider, as no drill takes a model for down, and asks the next of the same.
    let orders = subsets(rest).into_iter();
    let orders = orders.filter(|order| order.first() != Some(primary));
    let after = |order: Vec<usize>| {
        let (first, others) = order.split_first()?;
        Some([&[*first, *primary], others].concat())
    };
    orders.filter_map(after).collect()
}

/// The share that goes as if the first were down, and the entries whose first nobody stands behind.
pub(crate) fn drill(share: f64, routes: &[&ModelRoute]) -> String {
    if share <= 0.0 {
        return String::new();
    }
    let is_one = |route: &&&ModelRoute| {
        let providers = route.chain.iter().map(|hop| hop.provider);
        is_alone(providers)
    };
    let never: Vec<&str> = routes
        .iter()
        .filter(is_one)
        .map(|route| route.name.as_str())
        .collect();
    let never = match never.is_empty() {
        true => String::new(),
        false => format!(", but none of {}: its chain is one provider's", never.join(", ")),
    };
    format!("; drill: {} % go as if the first were down{never}", share * 100.0)
}

/// Whether all of these are one.
pub(crate) fn is_alone(mut providers: impl Iterator<Item = usize>) -> bool {
    let first = providers.next();
    providers.all(|other| Some(other) == first)
}

/// What the router does with a chain that names a provider more than once.
pub(crate) fn twice(route: &ModelRoute, policy: &Policy) -> String {
    let mut hops = route.chain.iter().enumerate();
    let is_second = |(at, hop): &(usize, &Hop)| {
        let mut before = route.chain.iter().take(*at);
        before.any(|other| other.provider == hop.provider)
    };
    let second = hops.find(is_second).filter(|_| route.failover.via == Via::Native);
    let Some(provider) = second.and_then(|(_, hop)| policy.providers.get(hop.provider)) else {
        return String::new();
    };
    let alone = is_alone(route.chain.iter().map(|hop| hop.provider));
    match alone {
        true => format!(
            "; by the router: {}'s models in turn, as repeats there",
            provider.name
        ),
        false => format!(
            "; by the router: of {} the first model that may go, and then somebody else",
            provider.name
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::orders;

    fn names(models: &str) -> Vec<String> {
        let text = format!(
            r#"{{"version": 1, "host": {{"body_pause": true}}, "failover": {{"via": "native", "attempts": 3}},
                "providers": {{
                    "a": {{"cluster": "ca", "dialect": "openai", "models": {{"x": {{}}, "y": {{}}}}}},
                    "b": {{"cluster": "cb", "dialect": "openai", "models": {{"x": {{}}}}}},
                    "c": {{"cluster": "cc", "dialect": "openai", "models": {{"x": {{}}}}}}}},
                "models": {models}}}"#
        );
        let policy = spillway::policy::load(&text, &BTreeMap::new()).unwrap();
        let tried = |order: super::Order| {
            let clusters: Vec<&str> = order.tries(&policy).iter().map(|p| p.cluster.as_str()).collect();
            let repeats = if order.repeats() { ", repeated" } else { "" };
            format!("{}: {}{repeats}", order.name(&policy), clusters.join(" "))
        };
        orders(&policy).into_iter().map(tried).collect()
    }

    #[test]
    fn a_chain_has_an_order_for_each_set_of_candidates_that_may_be_left() {
        assert_eq!(
            names(r#"{"m": {"chain": ["b/x", "a/x", "c/x"]}}"#),
            [
                "spillway+b+a+c: cb ca cc",
                "spillway+b+a: cb ca",
                "spillway+b+c: cb cc",
                "spillway+a+c: ca cc",
                "spillway+b: cb cb cb, repeated",
                "spillway+a: ca ca ca, repeated",
                "spillway+c: cc cc cc, repeated",
            ]
        );
    }

    #[test]
    fn a_drill_begins_with_another_and_puts_the_first_second() {
        let drilled = |attempts: u32| {
            let chain = r#""chain": ["b/x", "a/x", "c/x"]"#;
            let names = names(&format!(
                r#"{{"m": {{{chain}, "failover": {{"drill": "5 %", "attempts": {attempts}}}}}}}"#
            ));
            let plain = ["b+a+c", "b+a", "b+c", "a+c", "b", "a", "c"];
            let orders = names
                .iter()
                .filter_map(|name| name.split(':').next()?.strip_prefix("spillway+"));
            let added: Vec<String> = orders
                .filter(|name| !plain.contains(name))
                .map(str::to_owned)
                .collect();
            added
        };
        assert_eq!(drilled(3), ["a+b+c", "a+b", "c+b"]);
        assert_eq!(drilled(2), ["a+b", "c+b"]);
    }

    #[test]
    fn fewer_attempts_than_candidates_make_shorter_orders() {
        assert_eq!(
            names(r#"{"m": {"chain": ["b/x", "a/x", "c/x"], "failover": {"attempts": 2}}}"#)[0],
            "spillway+b+a: cb ca"
        );
    }

    #[test]
    fn orders_that_entries_share_are_there_once_and_allow_for_the_most_attempts() {
        let two = r#"{"m": {"chain": ["a/x"]}, "n": {"chain": ["a/y"], "failover": {"attempts": 5}},
                      "o": {"chain": ["b/x"], "failover": {"via": "none"}}}"#;
        assert_eq!(names(two), ["spillway+a: ca ca ca ca ca, repeated"]);
    }

    #[test]
    fn models_of_one_provider_are_repeats_there_and_one_attempt_where_others_are_left() {
        let order = names(r#"{"m": {"chain": ["a/x", "a/y"]}}"#);
        assert_eq!(order, ["spillway+a: ca ca ca, repeated"]);
        let orders = names(r#"{"m": {"chain": ["a/x", "a/y", "b/x"], "failover": {"drill": "1 %"}}}"#);
        let alone = ["spillway+a: ca ca ca, repeated", "spillway+b: cb cb cb, repeated"];
        assert_eq!(
            orders,
            [&["spillway+a+b: ca cb", "spillway+b+a: cb ca"][..], &alone].concat()
        );
    }
}
