//! Verdicts from outside and human review: what good documents become.

use core::time::Duration;

use serde_json::json;

use super::{read, with};
use crate::moderation::Side;
use crate::policy::moderation::{Ask, Category, OnFailure, OnFlagged, ReviewWhen};
use crate::policy::types::Mode;

#[test]
fn a_moderation_has_the_defaults_that_security_people_expect() {
    let rule = json!([{"on": ["request"], "ask": "moderation", "provider": "openai"}]);
    let policy = read(&with("moderation", rule)).unwrap();
    let rule = &policy.moderation[0];
    assert_eq!(rule.name, "moderation-0");
    assert_eq!((rule.timeout, rule.bound), (Duration::from_millis(800), 64 << 10));
    assert_eq!(
        (rule.on_flagged, rule.on_failure),
        (OnFlagged::Block, OnFailure::Block)
    );
    assert_eq!(
        (rule.to.cluster.as_str(), rule.to.path.as_str()),
        ("openai", "/v1/moderations")
    );
    assert!(rule.holds(Mode::Enforce) && !rule.holds(Mode::Shadow));
    assert!(matches!(&rule.ask, Ask::Moderation { model, categories }
        if model == "omni-moderation-latest" && categories.is_empty()));
}

#[test]
fn everything_that_can_be_said_of_a_moderation_is_read() {
    let rules = json!([
        {"name": "hate", "on": ["answer", "request"], "ask": "moderation", "cluster": "c", "authority": "m.internal:80",
         "credential": {"env": "OPENAI_API_KEY", "header": "x-key"}, "path": "/v1/m?x=1", "categories": ["violence", "hate"],
         "thresholds": {"hate": 0.4}, "timeout": "2s", "bound": "1MiB", "on_flagged": "annotate"},
        {"on": ["request"], "ask": "http", "cluster": "c", "path": "/judge", "flagged": "/a/b", "category": "/c",
         "mode": "shadow", "on_failure": "allow", "when": {"path": "/v1/messages", "header": {"X-App": "a"}, "model": ["gpt-4o"]}},
    ]);
    let policy = read(&with("moderation", rules)).unwrap();
    let [first, second] = policy.moderation.as_slice() else {
        panic!("two")
    };
    assert_eq!(first.on, [Side::Request, Side::Answer]);
    assert_eq!(
        (first.to.authority.as_str(), first.to.path.as_str()),
        ("m.internal:80", "/v1/m?x=1")
    );
    assert_eq!(first.to.credential.as_ref().unwrap().header, "x-key");
    assert_eq!(first.on_failure, OnFailure::Allow);
    let category = |name: &str, threshold| Category {
        name: name.into(),
        threshold,
    };
    assert!(matches!(&first.ask, Ask::Moderation { categories, .. }
        if *categories == [category("violence", None), category("hate", Some(0.4))]));
    assert_eq!(second.when.headers, [("x-app".to_owned(), "a".to_owned())]);
    assert!(!second.holds(Mode::Enforce), "in shadow nobody waits");
}

#[test]
fn nothing_passes_unread_by_who_must_judge_it() {
    let rule = json!([{"name": "s", "on": ["request"], "ask": "moderation", "provider": "openai"}]);
    for field in ["on_encoded", "on_oversize"] {
        let mut document = with("moderation", rule.clone());
        document[field] = json!("pass");
        let told = read(&document).unwrap_err();
        let expected = "would let through what moderation \"s\" must judge (allowed: reject; or on_failure: allow there)";
        assert_eq!(told, format!("{field}: {expected}"));
        document["moderation"][0]["on_failure"] = json!("allow");
        assert!(read(&document).is_ok());
    }
}

#[test]
fn a_review_says_who_is_told_and_when() {
    let review = json!({"cluster": "webhook", "path": "/exchanges", "when": ["sampled"], "share": 0.01});
    let review = read(&with("review", review)).unwrap().review.unwrap();
    assert_eq!(
        (review.to.authority.as_str(), review.share, review.samples),
        ("webhook", 10_000, false)
    );
    assert_eq!(
        (review.when.as_slice(), review.timeout),
        (&[ReviewWhen::Sampled][..], Duration::from_secs(2))
    );
    let least =
        json!({"cluster": "w", "path": "/", "when": ["sampled"], "share": 0.000_000_01, "mode": "shadow"});
    assert_eq!(read(&with("review", least)).unwrap().review.unwrap().share, 1);
}
