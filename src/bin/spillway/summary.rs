//! A policy in a few lines, for the eyes of who wrote it. Secrets are named by their variables, never shown.

use core::fmt::Write;
use core::time::Duration;

use serde_json::Value;
use spillway::policy::{
    Anonymous, CallerRule, Charge, Failover, Forced, Guard, Hop, Limit, Mode, ModelRoute, Per, Policy,
    Provider, ProviderDialect, ProviderModel, Reserve, Rung, Scope, Unit, Validation, Via, WhenAllOpen,
};

use crate::variables::Variables;
use crate::{orders, outside};

/// The policy's sections, a line or more each. `document` is what the policy was made of: it knows the variables' names.
pub(crate) fn summary(document: &Value, policy: &Policy, variables: &Variables) -> String {
    let mut out = String::new();
    section(&mut out, "mode", [mode(policy.mode).to_owned()]);
    section(&mut out, "host", [host(policy)]);
    section(&mut out, "callers", callers(document, policy));
    section(&mut out, "attributes", attributes(policy));
    section(&mut out, "providers", providers(document, policy));
    section(
        &mut out,
        "models",
        policy
            .models
            .iter()
            .chain(&policy.any_model)
            .map(|m| model(m, policy)),
    );
    section(&mut out, "failover", failover(policy));
    section(&mut out, "limits", policy.limits.iter().map(|l| limit(l, policy)));
    section(&mut out, "validate", policy.validate.iter().map(validation));
    section(&mut out, "guards", policy.guards.iter().map(guard));
    section(
        &mut out,
        "moderation",
        policy.moderation.iter().map(outside::moderation),
    );
    section(&mut out, "review", policy.review.iter().map(outside::review));
    section(&mut out, "notes", notes(document, policy, variables));
    out
}

fn section(out: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    for (index, line) in lines.into_iter().enumerate() {
        let title = if index == 0 { title } else { "" };
        // Writing to a String can't fail.
        let _ = writeln!(out, "  {title:<11}{line}");
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow: decided and counted, not enforced",
    }
}

fn host(policy: &Policy) -> String {
    let model = policy
        .host
        .model_header
        .as_ref()
        .map(|name| format!("; the header {name} names the model"));
    let pause = match policy.host.body_pause {
        true => "holds headers until the body is judged (needs allow_on_headers_stop_iteration)",
        false => "headers first: the body can't choose the route",
    };
    format!("{pause}{}", model.unwrap_or_default())
}

fn callers(document: &Value, policy: &Policy) -> Vec<String> {
    let rule = |(index, rule): (usize, &CallerRule)| match rule {
        CallerRule::Bearer(keys) => {
            let variable = document
                .pointer(&format!("/callers/{index}/keys/env"))
                .and_then(Value::as_str);
            format!(
                "known key, {} set from {}",
                counted(keys.len(), "key"),
                variable.unwrap_or_default()
            )
        }
        CallerRule::Header(name) => format!("header {name} (trusted)"),
        CallerRule::Jwt { path } => format!(
            "verified claim, at {}",
            path.get(2..).unwrap_or_default().join(" / ")
        ),
    };
    let mut lines: Vec<String> = policy.callers.iter().enumerate().map(rule).collect();
    lines.push(match policy.anonymous {
        Anonymous::Shared => "anybody else: one anonymous caller".to_owned(),
        Anonymous::Reject => "anybody else: 401".to_owned(),
    });
    lines
}

fn attributes(policy: &Policy) -> impl Iterator<Item = String> {
    let line = |a: &spillway::policy::Attribute| {
        format!("{} from header {}, else {:?}", a.name, a.header, a.missing)
    };
    policy.attributes.iter().map(line)
}

fn providers<'p>(document: &'p Value, policy: &'p Policy) -> impl Iterator<Item = String> + 'p {
    policy.providers.iter().flat_map(move |provider| {
        let mut lines = vec![provider_line(document, provider)];
        lines.extend(provider.models.iter().filter_map(refusals));
        lines.extend(provider.limits.iter().map(|l| format!("  grants {}", rate(l))));
        lines
    })
}

fn refusals(model: &ProviderModel) -> Option<String> {
    let refused = !model.refuses.is_empty();
    refused.then(|| format!("  {} refuses {}", model.name, model.refuses.join(", ")))
}

fn provider_line(document: &Value, provider: &Provider) -> String {
    // Names of providers hold no `/`.
    let variable = document.pointer(&format!("/providers/{}/credential/env", provider.name));
    let credential = match (&provider.credential, variable.and_then(Value::as_str)) {
        (Some(credential), Some(variable)) => format!("{} set from {variable}", credential.header),
        (Some(_), None) | (None, _) => "no credential".to_owned(),
    };
    let forced = match provider.breaker.force {
        None => "",
        Some(Forced::Open) => ", breaker forced open",
        Some(Forced::Closed) => ", breaker forced closed",
    };
    let models: Vec<&str> = provider.models.iter().map(|model| model.name.as_str()).collect();
    format!(
        "{}: {} at cluster {}, {credential}{forced}; serves {}",
        provider.name,
        dialect(provider.dialect),
        provider.cluster,
        models.join(", ")
    )
}

fn dialect(dialect: ProviderDialect) -> &'static str {
    match dialect {
        ProviderDialect::OpenAi => "openai",
        ProviderDialect::Anthropic => "anthropic",
        ProviderDialect::Gemini => "gemini",
        ProviderDialect::Azure => "azure",
    }
}

fn model(route: &ModelRoute, policy: &Policy) -> String {
    let chain: Vec<String> = route.chain.iter().map(|hop| place(*hop, policy)).collect();
    let all_open = match route.when_all_open {
        WhenAllOpen::Throttle => "as many as are answered, else 503",
        WhenAllOpen::Reject => "503",
        WhenAllOpen::LeastBad => "the one that opens soonest",
    };
    let named = format!("{} → {}; all open: {all_open}", route.name, chain.join(", then "));
    named + &orders::twice(route, policy)
}

/// The policy's section, and each entry's that differs from it; nothing where nothing fails over.
fn failover(policy: &Policy) -> Vec<String> {
    let routes = policy.models.iter().chain(&policy.any_model);
    let common = &policy.failover;
    let (shared, own): (Vec<_>, Vec<_>) = routes.partition(|route| route.failover == *common);
    let of_entry = |route: &ModelRoute| format!("{}: {}", route.name, ways(&route.failover, &[route]));
    let mut lines: Vec<String> = own.into_iter().map(of_entry).collect();
    if common.via != Via::None || common.drill > 0.0 || !lines.is_empty() {
        lines.insert(0, ways(common, &shared));
    }
    lines
}

fn ways(failover: &Failover, routes: &[&ModelRoute]) -> String {
    let drill = orders::drill(failover.drill, routes);
    let via = match failover.via {
        Via::None => return format!("none{drill}"),
        Via::Native => "the router (provider role on composite clusters)",
        Via::Callout => "callouts",
    };
    let charge = match failover.charge {
        Charge::All => "every attempt",
        Charge::Final => "the last attempt alone",
    };
    format!(
        "{} by {via} on {}; charged: {charge}{drill}",
        counted(failover.attempts as usize, "attempt"),
        causes(failover)
    )
}

fn causes(failover: &Failover) -> String {
    let on = &failover.on;
    let words = [
        ("connect", on.connect),
        ("reset", on.reset),
        ("timeout", on.timeout),
        ("stream_error", on.stream_error),
        ("first_token", on.first_token),
    ];
    let words = words
        .into_iter()
        .filter(|(_, is)| *is)
        .map(|(word, _)| word.to_owned());
    let all: Vec<String> = words.chain(on.statuses.iter().map(u16::to_string)).collect();
    all.join(", ")
}

fn place(hop: Hop, policy: &Policy) -> String {
    let provider = policy.providers.get(hop.provider);
    let model = provider.and_then(|provider| provider.models.get(hop.model));
    let (provider, model) = (provider.map(|p| p.name.as_str()), model.map(|m| m.name.as_str()));
    format!("{}/{}", provider.unwrap_or_default(), model.unwrap_or_default())
}

fn limit(limit: &Limit, policy: &Policy) -> String {
    let per: Vec<&str> = limit.per.iter().map(|per| key(per, policy)).collect();
    let per = match per.is_empty() {
        true => "for all together".to_owned(),
        false => format!("for each {}", per.join(" and ")),
    };
    let reserve = match (limit.unit, limit.reserve) {
        (Unit::Tokens, Reserve::Max) => "; reserves max tokens",
        (Unit::Tokens, Reserve::Expected) | (Unit::Requests, Reserve::Expected | Reserve::Max) => "",
    };
    let fleet = match limit.scope {
        Scope::Proxy => String::new(),
        Scope::Fleet { quota } => format!(", {} by all proxies together", grouped(quota)),
    };
    format!(
        "{}: {} {per}{reserve}{fleet}{}",
        limit.name,
        rate(limit),
        shadow(limit.mode)
    )
}

fn key<'p>(per: &Per, policy: &'p Policy) -> &'p str {
    match per {
        Per::Caller => "caller",
        Per::Model => "model",
        Per::Provider => "provider",
        Per::Route => "route",
        Per::Attribute(index) => policy
            .attributes
            .get(*index)
            .map_or("", |attribute| attribute.name.as_str()),
    }
}

/// `100,000 tokens/min, 200,000 at once`
fn rate(limit: &Limit) -> String {
    let unit = match limit.unit {
        Unit::Requests => "requests",
        Unit::Tokens => "tokens",
    };
    let burst = match limit.burst == limit.quota {
        true => String::new(),
        false => format!(", {} at once", grouped(limit.burst)),
    };
    format!("{} {unit}/{}{burst}", grouped(limit.quota), period(limit.period))
}

fn period(period: Duration) -> String {
    match period.as_secs() {
        1 => "s".to_owned(),
        60 => "min".to_owned(),
        3_600 => "h".to_owned(),
        86_400 => "day".to_owned(),
        other => format!("{other} s"),
    }
}

/// Digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn shadow(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "",
        Mode::Shadow => " (shadow)",
    }
}

fn validation(rule: &Validation) -> String {
    let mut when: Vec<String> = rule.when.path.iter().map(|path| format!("path {path}")).collect();
    when.extend(
        rule.when
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    when.extend((!rule.when.models.is_empty()).then(|| format!("model {}", rule.when.models.join(" or "))));
    let when = if when.is_empty() {
        "every answer".to_owned()
    } else {
        when.join(" and ")
    };
    let otherwise: Vec<String> = rule.on_invalid.rungs().iter().map(rung).collect();
    let otherwise = otherwise.join(", else ");
    format!(
        "{}: {when}; an answer that fails: {otherwise}{}",
        rule.name,
        shadow(rule.mode)
    )
}

fn rung(rung: &Rung) -> String {
    match rung {
        Rung::Repair => "repaired".to_owned(),
        Rung::Retry(times) => format!("asked again ({times}x)"),
        Rung::Fallback => "the next candidate".to_owned(),
        Rung::Default(_) => "a default".to_owned(),
        Rung::Reject => "502".to_owned(),
        Rung::Annotate => "annotated".to_owned(),
    }
}

fn guard(guard: &Guard) -> String {
    let kinds = guard.kinds.iter().map(|kind| kind.name());
    let own = (!guard.own.is_empty()).then_some("its own patterns or words");
    let what: Vec<&str> = kinds.chain(own).collect();
    let sides: Vec<&str> = guard.on.iter().map(|side| side.as_str()).collect();
    format!(
        "{}: {} in {}: {}{}",
        guard.name,
        what.join(", "),
        sides.join(" and "),
        guard.action.as_str(),
        shadow(guard.mode)
    )
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// What is legal and still worth a look.
fn notes(document: &Value, policy: &Policy, variables: &Variables) -> Vec<String> {
    let mut notes = Vec::new();
    let assumed: Vec<&str> = secrets(document)
        .into_iter()
        .filter(|name| !variables.is_set(name))
        .collect();
    if !assumed.is_empty() {
        notes.push(format!("assumed, not set here: {}", assumed.join(", ")));
    }
    if policy.limits.is_empty() {
        notes.push("there are no limits for callers".to_owned());
    }
    let mixed = policy
        .models
        .iter()
        .chain(&policy.any_model)
        .filter(|route| route.failover.via == Via::None && mixes_dialects(route, policy));
    notes.extend(mixed.map(|route| {
        format!(
            "{}: its chain mixes dialects; a request only goes to providers of its own",
            route.name
        )
    }));
    notes
}

/// The variables that the document names for secrets, each once.
pub(crate) fn secrets(document: &Value) -> Vec<&str> {
    let callers = document.get("callers").and_then(Value::as_array);
    let providers = document.get("providers").and_then(Value::as_object);
    let keys = callers
        .into_iter()
        .flatten()
        .filter_map(|rule| rule.pointer("/keys/env"));
    let credentials = providers
        .into_iter()
        .flat_map(|p| p.values())
        .filter_map(|p| p.pointer("/credential/env"));
    let own = outside::credentials(document);
    let mut names: Vec<&str> = keys
        .chain(credentials)
        .chain(own)
        .filter_map(Value::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn mixes_dialects(route: &ModelRoute, policy: &Policy) -> bool {
    let mut dialects = route
        .chain
        .iter()
        .filter_map(|hop| policy.providers.get(hop.provider))
        .map(|p| p.dialect);
    let first = dialects.next();
    dialects.any(|dialect| Some(dialect) != first)
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::source::{Read, read};
    use crate::variables::Variables;

    const POLICY: &str = include_str!("../../../examples/policies/teams.yaml");

    #[test]
    fn a_summary_shows_what_the_policy_does_and_no_secret() {
        let mut variables = Variables::default();
        variables.add("OPENAI_API_KEY=sk-s3cr3t").unwrap();
        variables.assume();
        let Ok(Read { document, policy }) = read("a.yaml", POLICY, &variables) else {
            panic!("refused")
        };
        let summary = summary(&document, &policy, &variables);
        assert!(!summary.contains("s3cr3t"), "{summary}");
        for part in [
            "authorization set from OPENAI_API_KEY",
            "caller-tokens: 100,000 tokens/min, 200,000 at once for each caller and model",
            "assumed, not set here: ANTHROPIC_API_KEY, CALLER_KEYS",
        ] {
            assert!(summary.contains(part), "{part}\n{summary}");
        }
    }

    #[test]
    fn failing_over_is_shown_where_it_is_set() {
        let variables = Variables::default();
        let text = r#"{"version": 1, "failover": {"via": "callout", "retry_on": ["connect", 503], "attempts": 2},
            "providers": {"p": {"cluster": "p", "dialect": "openai", "models": {"m": {}}}},
            "models": {"m": {"chain": ["p/m"]}, "*": {"chain": ["p/m"], "failover": {"via": "none"}}}}"#;
        let Ok(Read { document, policy }) = read("a.json", text, &variables) else {
            panic!("refused")
        };
        let summary = summary(&document, &policy, &variables);
        for part in [
            "failover   2 attempts by callouts on connect, 503; charged: every attempt",
            "*: none",
        ] {
            assert!(summary.contains(part), "{part}\n{summary}");
        }
    }

    #[test]
    fn drills_are_shown_whoever_sends_again() {
        let text = r#"{"version": 1, "host": {"body_pause": true}, "failover": {"drill": "5 %", "via": "native"},
            "providers": {"p": {"cluster": "p", "dialect": "openai", "models": {"m": {"refuses": ["seed", "stop"]}, "n": {}}},
                          "q": {"cluster": "q", "dialect": "openai", "models": {"m": {}}}},
            "models": {"m": {"chain": ["p/m", "q/m"]}, "o": {"chain": ["p/m", "p/n"]},
                       "*": {"chain": ["p/m", "p/n", "q/m"], "failover": {"via": "callout"}},
                       "r": {"chain": ["p/m", "p/n", "q/m"]}}}"#;
        let variables = Variables::default();
        let Ok(Read { document, policy }) = read("a.json", text, &variables) else {
            panic!("refused")
        };
        let summary = summary(&document, &policy, &variables);
        for part in [
            "(provider role on composite clusters) on connect",
            "charged: every attempt; drill: 5 % go as if the first were down, but none of o: its chain is one provider's",
            "by callouts",
            "; drill: 5 % go as if the first were down\n",
            "o → p/m, then p/n; all open: as many as are answered, else 503; by the router: p's models in turn, as repeats there",
            "r → p/m, then p/n, then q/m; all open: as many as are answered, else 503; by the router: of p the first model that may go, and then somebody else",
            "m refuses seed, stop",
        ] {
            assert!(summary.contains(part), "{part}\n{summary}");
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(super::grouped(0), "0");
        assert_eq!(super::grouped(999), "999");
        assert_eq!(super::grouped(1_000), "1,000");
        assert_eq!(super::grouped(12_345_678), "12,345,678");
    }
}
