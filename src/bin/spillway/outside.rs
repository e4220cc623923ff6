//! Services outside that a policy asks or tells: their clusters, their secrets, and what is done with what they say.

use serde_json::Value;
use spillway::moderation::Side;
use spillway::policy::moderation::{Ask, Moderation, OnFailure, OnFlagged, Review, Target};
use spillway::policy::{Mode, Policy};

/// A cluster that is no provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'p> {
    /// What `--endpoint` calls it: a moderation's name, or `review`.
    pub(crate) name: &'p str,
    pub(crate) cluster: &'p str,
    pub(crate) authority: &'p str,
}

/// Each such cluster once, in the policy's order.
pub(crate) fn places(policy: &Policy) -> Vec<Place<'_>> {
    let mut found: Vec<Place<'_>> = Vec::new();
    let moderations = policy
        .moderation
        .iter()
        .map(|rule| (rule.name.as_str(), &rule.to));
    let reviews = policy.review.iter().map(|review| ("review", &review.to));
    for (name, to) in moderations.chain(reviews) {
        let known = policy
            .providers
            .iter()
            .any(|provider| provider.cluster == to.cluster)
            || found.iter().any(|place| place.cluster == to.cluster);
        if !known {
            found.push(Place {
                name,
                cluster: &to.cluster,
                authority: &to.authority,
            });
        }
    }
    found
}

/// Whether answers wait for a verdict.
pub(crate) fn holds_answers(policy: &Policy) -> bool {
    let mut rules = policy.moderation.iter();
    rules.any(|rule| rule.on.contains(&Side::Answer) && rule.holds(policy.mode))
}

/// The values that name variables of credentials.
pub(crate) fn credentials(document: &Value) -> impl Iterator<Item = &Value> {
    let rules = document.get("moderation").and_then(Value::as_array);
    let review = document.get("review");
    let all = rules.into_iter().flatten().chain(review);
    all.filter_map(|section| section.pointer("/credential/env"))
}

/// `safety: requests and answers, at cluster openai (moderations); flagged: refused; without a verdict: refused`
pub(crate) fn moderation(rule: &Moderation) -> String {
    let sides = rule.on.iter().map(|side| match side {
        Side::Request => "requests",
        Side::Answer => "answers",
    });
    let what = match &rule.ask {
        Ask::Moderation { model, .. } | Ask::Model { model, .. } => model.as_str(),
        Ask::Http { .. } => "http",
    };
    let flagged = match rule.on_flagged {
        OnFlagged::Block => "refused",
        OnFlagged::Annotate => "annotated",
        OnFlagged::Review => "posted for review",
    };
    let failure = match rule.on_failure {
        OnFailure::Allow => "passes",
        OnFailure::Block => "refused",
    };
    format!(
        "{}: {}, {what} at {} within {:?}; flagged: {flagged}; without a verdict: {failure}{}",
        rule.name,
        sides.collect::<Vec<_>>().join(" and "),
        place(&rule.to),
        rule.timeout,
        shadow(rule.mode)
    )
}

/// `flagged, sampled (10000 in a million), to cluster webhook; facts only`
pub(crate) fn review(review: &Review) -> String {
    let when: Vec<&str> = review.when.iter().map(|when| when.as_str()).collect();
    let share = match review.share {
        0 => String::new(),
        share => format!(" ({share} in a million)"),
    };
    let texts = if review.samples {
        "with texts"
    } else {
        "facts only"
    };
    format!(
        "{}{share}, to {}; {texts}{}",
        when.join(", "),
        place(&review.to),
        shadow(review.mode)
    )
}

fn place(to: &Target) -> String {
    let secret = if to.credential.is_some() {
        ", with a credential"
    } else {
        ""
    };
    format!("cluster {}{secret}", to.cluster)
}

fn shadow(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "",
        Mode::Shadow => " (shadow)",
    }
}

#[cfg(test)]
mod tests {
    use super::{places, review};
    use crate::source::{Read, read};
    use crate::summary::{secrets, summary};
    use crate::variables::Variables;

    const POLICY: &str = r#"
version: 1
providers: {p: {cluster: p, dialect: openai, models: {m: {}}}}
models: {m: {chain: [p/m]}}
moderation:
  - {name: own, on: [request, answer], provider: p, ask: moderation}
  - {name: else, on: [request], cluster: judge, authority: judge.internal, path: /j, ask: http, flagged: /bad,
     credential: {env: JUDGE_KEY}, on_failure: allow, mode: shadow}
review: {cluster: judge, path: /exchanges, when: [flagged, sampled], share: 0.01}
"#;

    #[test]
    fn a_summary_says_who_is_asked_and_told_and_no_secret() {
        let mut variables = Variables::default();
        variables.add("JUDGE_KEY=sk-s3cr3t").unwrap();
        let Ok(Read { document, policy }) = read("a.yaml", POLICY, &variables) else {
            panic!("refused")
        };
        let told = summary(&document, &policy, &variables);
        for part in [
            "own: requests and answers, omni-moderation-latest at cluster p within 800ms; flagged: refused; without a verdict: refused",
            "else: requests, http at cluster judge, with a credential within 800ms; flagged: refused; without a verdict: passes (shadow)",
            "flagged, sampled (10000 in a million), to cluster judge; facts only",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(!told.contains("s3cr3t"));
        assert_eq!(secrets(&document), ["JUDGE_KEY"]);
        assert!(!review(policy.review.as_ref().unwrap()).contains("shadow"));
    }

    #[test]
    fn a_cluster_that_no_provider_has_is_named_once() {
        let mut variables = Variables::default();
        variables.assume();
        let Ok(Read { policy, .. }) = read("a.yaml", POLICY, &variables) else {
            panic!("refused")
        };
        let names: Vec<_> = places(&policy)
            .iter()
            .map(|place| (place.name, place.cluster))
            .collect();
        assert_eq!(names, [("else", "judge")]);
    }
}
