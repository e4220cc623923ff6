//! Limits of a fleet: what is left for the host's rate-limit filter, and what becomes of its no.

use core::time::Duration;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::callouts::{json_answer, reset};
use super::router::{Does, RESET, failing, native, routed};
use super::{Call, CallAnswer, Ending, Lab, answered, chat, delta, message};
use crate::exchange::attempt::{ORDER, Tried, tried_key};

/// Two limits of the fleet over two keys, and one of this proxy alone.
fn limits() -> Value {
    json!([
        {"name": "tokens", "per": ["caller", "model"], "tokens": "10000/min", "scope": "fleet"},
        {"name": "team", "per": ["team"], "requests": "60/h", "scope": "fleet"},
        {"name": "own", "per": ["caller"], "requests": "60/min"},
    ])
}

fn lab(changes: Value) -> Lab {
    let mut document = json!({ "limits": limits() });
    super::merge(&mut document, changes);
    Lab::new(document)
}

impl Lab {
    /// What has been left for the rate-limit filter: the last word of each key.
    fn left(&self) -> BTreeMap<String, String> {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
        let properties = self.effects.properties.iter();
        let ours = properties.filter_map(|(key, value)| Some((key.strip_prefix("spillway.fleet.")?, value)));
        ours.map(|(key, value)| (key.to_owned(), text(value))).collect()
    }

    /// The host's filter said no.
    fn refuse(&mut self, call: &mut Call, (status, details): (u16, &str), headers: &[(&str, &str)]) {
        self.properties
            .insert("response.code_details".into(), details.into());
        call.respond(self, status, headers, false);
    }
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

const FULL: (u16, &str) = (429, "request_rate_limited");

#[test]
fn the_fleet_is_asked_by_hashes_and_names_and_billed_by_what_was_used() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({})).with("x-team", "red"));
    let asked = lab.left();
    let caller = asked["by.caller"].clone();
    let names = [
        ("ask.tokens", "tokens"),
        ("ask.team", "team"),
        ("by.caller", caller.as_str()),
        ("by.model", "gpt-4o"),
        ("by.team", "red"),
    ];
    assert_eq!(asked, owned(&names));
    assert!(caller.len() == 16 && !caller.contains("acme"));
    call.answer(&mut lab, 200, &answered("", 30, 12));
    let mut billed = names.to_vec();
    billed.extend([("bill.tokens", "tokens"), ("spent.tokens", "42")]);
    billed.extend([("bill.team", "team"), ("spent.team", "1")]);
    assert_eq!(lab.left(), owned(&billed));
    assert_eq!(
        call.record(&mut lab)["caller"],
        caller,
        "a record can be found by its descriptor"
    );
}

#[test]
fn what_is_no_plain_word_travels_as_a_hash() {
    let mut lab = lab(json!({}));
    let _ = lab.send(&chat(json!({})).with("x-team", "red team@example.com"));
    let told = lab.left()["by.team"].clone();
    assert!(told.starts_with('#') && told.len() == 17, "{told}");
}

#[test]
fn a_client_that_hangs_up_is_billed_for_what_it_got() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.stream(&mut lab, &[&delta("some words that came", None)]);
    assert!(!lab.left().contains_key("spent.tokens"));
    let record = call.end(&mut lab, Ending::ClientAbort);
    let actual = &record["actual"];
    let used = actual["input"].as_u64().unwrap() + actual["output"].as_u64().unwrap();
    assert_eq!(lab.left()["spent.tokens"], used.to_string());
}

#[test]
fn a_refusal_of_the_fleet_costs_nothing_and_speaks_the_client_s_dialect() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&message(json!({})));
    assert!(lab.used("acme") == 0, "another model's bucket");
    lab.refuse(
        &mut call,
        FULL,
        &[("x-ratelimit-reset", "37"), ("x-ratelimit-remaining", "0")],
    );
    assert_eq!(call.refused(), Some(429));
    assert_eq!(call.reply_header("retry-after").as_deref(), Some("37"));
    assert_eq!(call.reply_json()["error"]["type"], "rate_limit_error");
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["refused"], &record["end"]),
        (&json!("fleet"), &json!("refused"))
    );
    assert!(
        record["actual"].is_null() && record["limits_hit"].is_null(),
        "it may be one or the other"
    );
    assert_eq!(lab.metric("spillway.refused.reason=fleet"), 1);
    let left = lab.left();
    assert!(
        !left
            .keys()
            .any(|key| key.starts_with("bill.") || key.starts_with("spent.")),
        "{left:?}"
    );
}

#[test]
fn what_was_set_aside_is_given_back_when_the_fleet_says_no() {
    let limits = json!([{"name": "tokens", "per": ["caller"], "tokens": "10000/min", "scope": "fleet"}]);
    let mut lab = Lab::new(json!({ "limits": limits }));
    let mut call = lab.send(&chat(json!({"max_tokens": 5_000})));
    assert!(lab.used("acme") > 0);
    lab.refuse(&mut call, FULL, &[]);
    assert_eq!(lab.used("acme"), 0);
    assert_eq!(
        call.reply_header("retry-after").as_deref(),
        Some("60"),
        "the limit's period"
    );
    assert_eq!(
        call.record(&mut lab)["limits_hit"],
        json!(["tokens"]),
        "it can be but one"
    );
}

#[test]
fn a_service_that_must_answer_and_does_not_is_a_503() {
    let mut lab = lab(json!({"fleet": {"on_rls_failure": "deny"}}));
    let mut call = lab.send(&chat(json!({})));
    lab.refuse(&mut call, (503, "rate_limiter_error"), &[]);
    assert_eq!(call.refused(), Some(503));
    assert_eq!(call.reply_header("retry-after").as_deref(), Some("1"));
    assert_eq!(call.record(&mut lab)["refused"], "fleet_unavailable");
}

#[test]
fn a_provider_s_own_429_is_none_of_the_fleet_s() {
    let mut lab = lab(json!({}));
    let mut call = lab.send(&chat(json!({})));
    lab.refuse(
        &mut call,
        (429, "via_upstream"),
        &[("content-type", "application/json")],
    );
    assert_eq!(call.refused(), None);
}

#[test]
fn who_is_over_this_proxy_s_share_is_refused_before_anybody_is_asked() {
    let limits =
        json!([{"name": "r", "per": ["caller"], "requests": "4/h", "scope": "fleet", "share": 0.25}]);
    let mut lab = Lab::new(json!({ "limits": limits }));
    lab.exchange(&chat(json!({})), 200, &answered("", 1, 1));
    lab.effects.properties.clear();
    let call = lab.send(&chat(json!({})));
    assert_eq!(call.refused(), Some(429));
    assert!(lab.left().is_empty());
}

#[test]
fn in_shadow_nobody_is_asked_and_all_is_billed() {
    let shadow = json!([{"name": "r", "per": [], "requests": "1/h", "scope": "fleet", "mode": "shadow"}]);
    for changes in [
        json!({ "limits": shadow }),
        json!({"limits": limits(), "mode": "shadow"}),
    ] {
        let mut lab = Lab::new(changes);
        lab.exchange(&chat(json!({})), 200, &answered("", 30, 12));
        let left = lab.left();
        assert!(!left.keys().any(|key| key.starts_with("ask.")), "{left:?}");
        assert!(left.keys().any(|key| key.starts_with("bill.")), "{left:?}");
    }
}

/// Two attempts, the first of which read 100 tokens and failed.
fn failed_over(charge: &str) -> String {
    let mut lab = lab(json!({"failover": {"via": "native", "charge": charge}}));
    let mut call = lab.send(&chat(json!({})));
    let tried = |provider: &str, gave_up: Option<&str>, prompt: u64| {
        let mut tried = json!({"p": provider, "m": "gpt-4o", "sent": 0, "ms": 1, "prompt": prompt});
        if let Some(why) = gave_up {
            tried["gave_up"] = why.into();
        }
        assert!(serde_json::from_value::<Tried>(tried.clone()).is_ok());
        tried.to_string()
    };
    let found = [
        (1, tried("openai", Some("reset"), 100)),
        (2, tried("backup", None, 0)),
    ];
    for (number, text) in found {
        let key = format!("filter_state.wasm.{}", tried_key(number));
        lab.properties.insert(key, text);
    }
    call.answer(&mut lab, 200, &answered("", 30, 12));
    lab.left()["spent.tokens"].clone()
}

#[test]
fn attempts_are_billed_as_they_are_charged() {
    assert_eq!(failed_over("all"), "142");
    assert_eq!(failed_over("final"), "42");
}

#[test]
fn a_probe_that_no_attempt_took_up_is_given_back() {
    let mut lab = lab(json!({
        "failover": {"via": "native"},
        "models": {
            "gpt-4o": {"chain": ["openai/gpt-4o"]},
            "gpt-4o-mini": {"chain": ["openai/gpt-4o-mini"], "failover": {"via": "none"}},
        },
        "providers": {"openai": {"breaker": {"consecutive": 1, "open": "1s", "half_open_permits": 1}}},
    }));
    let mut failing = lab.send(&chat(json!({"model": "gpt-4o-mini"})));
    let broken = (503, "upstream_reset_before_response_started{connection_failure}");
    lab.refuse(&mut failing, broken, &[]);
    lab.later(Duration::from_secs(3));
    lab.effects.properties.clear();
    let mut probe = lab.send(&chat(json!({})));
    assert_eq!(probe.refused(), None);
    let mut left = lab.effects.properties.iter();
    let order = left.find(|(key, _)| key == ORDER).unwrap().1.clone();
    assert_eq!(
        lab.send(&chat(json!({}))).refused(),
        Some(503),
        "the one probe is out"
    );
    lab.properties.insert(
        format!("filter_state.wasm.{ORDER}"),
        String::from_utf8(order).unwrap(),
    );
    lab.refuse(&mut probe, FULL, &[]);
    assert_eq!(lab.send(&chat(json!({}))).refused(), None);
}

#[test]
fn where_headers_go_first_the_fleet_is_asked_by_what_they_tell() {
    let mut lab = Lab::headers_first(json!({ "limits": limits() }));
    let request = chat(json!({})).with("x-model", "gpt-4o");
    let mut call = Call::begin(&mut lab, &request);
    assert_eq!(lab.left()["by.model"], "gpt-4o");
    lab.refuse(&mut call, FULL, &[("x-ratelimit-reset", "2")]);
    assert_eq!(call.refused(), Some(429));
    assert_eq!(call.record(&mut lab)["refused"], "fleet");

    let mut lab =
        Lab::headers_first(json!({"limits": limits(), "models": {"*": {"chain": ["openai/gpt-4o"]}}}));
    let _ = Call::begin(&mut lab, &chat(json!({})));
    let left = lab.left();
    assert!(left.contains_key("ask.team"));
    assert!(
        left.contains_key("ask.tokens") == left.contains_key("by.model"),
        "{left:?}"
    );
}

/// A policy whose first limit is the fleet's, with a ladder for answers that aren't objects.
fn asking(ladder: Value, more: Value) -> Value {
    let mut document = json!({
        "limits": [{"name": "tokens", "per": ["caller"], "tokens": "10000/min", "scope": "fleet"}],
        "validate": [{"name": "order", "schema": {"type": "object"}, "on_invalid": ladder}]});
    super::merge(&mut document, more);
    document
}

/// Sums of what was billed, one for each bill.
fn bills(lab: &Lab) -> Vec<String> {
    let here = lab.effects.properties.iter();
    let here = here.map(|(key, value)| (key.clone(), String::from_utf8(value.clone()).unwrap()));
    let before = lab
        .properties
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()));
    let all = here.chain(before);
    all.filter(|(key, _)| key.ends_with("fleet.spent.tokens"))
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn however_it_ends_there_is_one_bill_and_it_is_what_this_proxy_charges() {
    let bad = || answered("no", 10, 20);
    let good = || answered("{}", 3, 4);
    let calls: [(&str, Vec<CallAnswer>, u64); 7] = [
        ("answered", vec![json_answer(200, &good())], 37),
        ("bad again", vec![json_answer(200, &bad())], 60),
        ("broken", vec![reset()], 0),
        ("unsent", vec![CallAnswer::unsent()], 30),
        ("refused", vec![json_answer(400, "{}")], 30),
        ("late", vec![], 0),
        (
            "twice",
            vec![json_answer(200, &bad()), json_answer(200, &good())],
            67,
        ),
    ];
    for (via, charge) in [
        ("none", "all"),
        ("native", "all"),
        ("none", "final"),
        ("native", "final"),
    ] {
        for (what, answers, expected) in &calls {
            let rungs = if *what == "twice" {
                json!([{"retry": 2}, "reject"])
            } else {
                json!([{"retry": 1}, "reject"])
            };
            let document = asking(
                rungs,
                json!({"failover": {"via": via, "charge": charge, "attempts": 3}}),
            );
            let (mut lab, mut call) = if via == "native" {
                let mut lab = native(document);
                let does = [("openai", Does::Says(200, &[], bad()))];
                let (call, _) = routed(&mut lab, &chat(json!({})), &does);
                (lab, call)
            } else {
                let mut lab = Lab::new(document);
                let mut call = lab.send(&chat(json!({})));
                call.answer(&mut lab, 200, &bad());
                (lab, call)
            };
            for answer in answers {
                assert!(call.call.take().is_some(), "{via} {what}");
                let answer = CallAnswer {
                    headers: answer.headers.clone(),
                    body: answer.body.clone(),
                    ..*answer
                };
                call.called(&mut lab, answer);
            }
            let record = call.end(&mut lab, Ending::ClientAbort);
            let used = lab.used("acme");
            assert_eq!(bills(&lab), [used.to_string()], "{via} {charge} {what}: {record}");
            if charge == "all" && *expected > 0 {
                assert_eq!(used, *expected, "{via} {what}: {record}");
            }
        }
    }
}

#[test]
fn drills_guards_and_lost_attempts_leave_one_bill_too() {
    let guard =
        json!({"guards": [{"name": "mail", "kinds": ["email"], "action": "block", "on": ["answer"]}]});
    let mail = || answered("{\"to\": \"a@example.com\"}", 10, 20);
    let cases: [(Value, Vec<(&str, Does<'_>)>); 5] = [
        (
            json!({}),
            vec![
                ("openai", Does::Falls(RESET)),
                ("backup", Does::Says(200, &[], answered("{}", 1, 2))),
            ],
        ),
        (
            json!({}),
            vec![
                ("openai", Does::Falls(RESET)),
                ("backup", Does::Falls(RESET)),
                ("anthropic", failing(500)),
            ],
        ),
        (
            json!({}),
            vec![
                ("openai", Does::Falls(RESET)),
                ("backup", Does::Falls(RESET)),
                ("anthropic", Does::Falls(RESET)),
            ],
        ),
        (
            json!({"failover": {"drill": "100 %"}}),
            vec![
                ("backup", Does::Falls(RESET)),
                ("openai", Does::Says(200, &[], answered("{}", 1, 2))),
            ],
        ),
        (guard, vec![("openai", Does::Says(200, &[], mail()))]),
    ];
    for (at, (more, does)) in cases.into_iter().enumerate() {
        let mut document = asking(json!(["reject"]), more);
        super::merge(&mut document, json!({"failover": {"via": "native"}}));
        let mut lab = native(document);
        let (call, _) = routed(&mut lab, &chat(json!({})), &does);
        let record = call.end(&mut lab, Ending::ClientAbort);
        let used = lab.used("acme");
        assert!(used > 0, "{at}: {record}");
        assert_eq!(bills(&lab), [used.to_string()], "{at}: {record}");
        let lines = record["attempts"].as_array().unwrap();
        let sum: u64 = lines.iter().map(|line| line["tokens"].as_u64().unwrap()).sum();
        assert_eq!(sum, used, "{at}: each charge is its record's: {record}");
    }
}
