//! Failing over: what the section becomes, for all models and for one.

use core::time::Duration;

use serde_json::json;

use super::super::{Backoff, Charge, Failover, Grown, Incompatible, Via};
use super::{least, read, with};

#[test]
fn nothing_fails_over_unless_asked_for() {
    let policy = read(&least()).unwrap();
    assert_eq!(policy.failover, Failover::default());
    assert_eq!(policy.models[0].failover, policy.failover);
    assert_eq!((policy.failover.via, policy.failover.attempts), (Via::None, 3));
    let on = &policy.failover.on;
    assert!(on.connect && on.reset && on.timeout && on.stream_error && on.first_token);
    assert_eq!(on.statuses, [408, 429, 500, 502, 503, 504, 529]);
}

#[test]
fn a_model_s_section_is_laid_over_the_policy_s() {
    let mut document = with(
        "failover",
        json!({
            "via": "native", "attempts": 2, "retry_on": ["connect", 503, 500, 503], "backoff": {"base": "1s"},
            "retry_after_max": "0s", "retry_budget": 0.5, "charge": "final", "incompatible": "drop",
            "timeouts": {"first_token": {"base": "5s", "per_1k_prompt": "1s"}, "whole": {"per_1k_output": "10s"}},
            "deadline_header": "X-Deadline-Ms", "exhausted": {"status": 200, "body": {"sorry": true}},
        }),
    );
    document["host"] = json!({"body_pause": true});
    document["models"]["*"] = json!({
        "chain": ["openai/gpt-4o"],
        "failover": {"via": "callout", "timeouts": {"first_token": {"base": "9s"}}},
    });
    let policy = read(&document).unwrap();
    let common = &policy.models[0].failover;
    assert_eq!(common, &policy.failover);
    assert_eq!(
        (common.via, common.attempts, common.charge),
        (Via::Native, 2, Charge::Final)
    );
    assert!(common.on.connect && !common.on.reset && !common.on.first_token);
    assert_eq!(common.on.statuses, [500, 503]);
    let (base, max) = (Duration::from_secs(1), Duration::from_secs(10));
    assert_eq!(common.backoff, Backoff { base, max });
    assert_eq!(
        (common.retry_after_max, common.retry_budget),
        (Duration::ZERO, 0.5)
    );
    assert_eq!(common.incompatible, Incompatible::Drop);
    assert_eq!(common.deadline_header.as_deref(), Some("x-deadline-ms"));
    let answer = common.exhausted.as_ref().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"sorry":true}"#));
    assert_eq!(
        common.timeouts.first_token.of(2_500, 9_999),
        Duration::from_millis(7_500)
    );
    assert_eq!(common.timeouts.whole.per_1k_output, Duration::from_secs(10));

    let own = &policy.any_model.as_ref().unwrap().failover;
    assert_eq!((own.via, own.attempts), (Via::Callout, 2));
    assert_eq!(own.timeouts.first_token.of(1_000, 0), Duration::from_secs(10));
}

#[test]
fn a_chain_of_more_than_three_is_no_chain_for_the_router() {
    let mut document = with("host", json!({"body_pause": true}));
    for model in ["b", "c", "d"] {
        document["providers"]["openai"]["models"][model] = json!({});
    }
    document["models"]["gpt-4o"] = json!({
        "chain": ["openai/gpt-4o", "openai/b", "openai/c", "openai/d"], "failover": {"via": "native"},
    });
    assert_eq!(
        read(&document).unwrap_err(),
        "models.gpt-4o.chain: has 4 hops (allowed: at most 3 where failover.via is native)"
    );
    document["models"]["gpt-4o"]["failover"]["via"] = json!("callout");
    assert_eq!(read(&document).unwrap().models[0].chain.len(), 4);
}

#[test]
fn a_drill_is_a_share_and_needs_headers_that_wait() {
    for (written, share) in [
        (json!("5 %"), 0.05),
        (json!("5%"), 0.05),
        (json!(0.05), 0.05),
        (json!("0.05"), 0.05),
        (json!("100 %"), 1.0),
        (json!(0), 0.0),
    ] {
        let mut document = with("host", json!({"body_pause": true}));
        document["failover"] = json!({"drill": written, "via": "callout"});
        add_backup(&mut document);
        assert_eq!(
            read(&document).unwrap().models[0].failover.drill,
            share,
            "{written}"
        );
    }
    for written in ["-1 %", "101 %", "5 percent", "% ", "2"] {
        let told = read(&with("failover", json!({"drill": written}))).unwrap_err();
        assert!(told.starts_with("failover.drill: is \""), "{told}");
        assert!(
            told.ends_with("(allowed: a share, such as 5 % or 0.05)"),
            "{told}"
        );
    }
    let mut document = with("failover", json!({"drill": 0.1}));
    document["models"]["gpt-4o"]["failover"] = json!({"drill": 0.2});
    let told = read(&document).unwrap_err();
    let paths: Vec<&str> = told.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(
        paths,
        ["failover.drill", "models.gpt-4o.failover.drill"],
        "{told}"
    );
    document["models"]["gpt-4o"]["failover"] = json!({"drill": 0});
    document["host"] = json!({"body_pause": true});
    let policy = read(&document).unwrap();
    assert_eq!(
        (policy.failover.drill, policy.models[0].failover.drill),
        (0.1, 0.0)
    );
}

/// A second provider, and its place in the chain.
fn add_backup(document: &mut serde_json::Value) {
    document["providers"]["backup"] = json!({"cluster": "b", "dialect": "openai", "models": {"gpt-4o": {}}});
    document["models"]["gpt-4o"]["chain"] = json!(["openai/gpt-4o", "backup/gpt-4o"]);
}

#[test]
fn a_drill_that_couldn_t_go_back_to_the_first_is_refused_where_it_stands() {
    let common = "failover.drill";
    let own = "models.gpt-4o.failover.drill";
    let (sends, second, nobody) = ("who sends a request", "a second attempt", "nobody to go to");
    let one = json!({"drill": 0.1, "attempts": 1, "via": "callout"});
    let table = [
        (json!({"drill": 0.1}), json!({}), true, Some((common, sends))),
        (
            json!({"drill": 0.1, "via": "none"}),
            json!({"attempts": 2}),
            true,
            Some((own, sends)),
        ),
        (
            json!({"drill": 0.1, "via": "native"}),
            json!({"via": "none"}),
            true,
            Some((own, sends)),
        ),
        (json!({}), json!({"drill": 0.1}), true, Some((own, sends))),
        (one.clone(), json!({}), true, Some((common, second))),
        (one, json!({"attempts": 2}), true, None),
        (
            json!({"drill": 0.1, "via": "native"}),
            json!({"attempts": 1}),
            true,
            Some((own, second)),
        ),
        (
            json!({"drill": 0.1, "via": "native"}),
            json!({}),
            false,
            Some((common, nobody)),
        ),
        (
            json!({"via": "native"}),
            json!({"drill": 0.1}),
            false,
            Some((own, nobody)),
        ),
        (
            json!({"drill": 0.1, "via": "native"}),
            json!({"drill": 0}),
            true,
            None,
        ),
        (json!({"drill": 0.1, "via": "native"}), json!({}), true, None),
    ];
    for (failover, of_model, has_backup, expected) in table {
        let mut document = with("host", json!({"body_pause": true}));
        if has_backup {
            add_backup(&mut document);
        }
        document["failover"] = failover.clone();
        if of_model != json!({}) {
            document["models"]["gpt-4o"]["failover"] = of_model.clone();
        }
        let told = read(&document).err().unwrap_or_default();
        let (path, why) = expected.unwrap_or_default();
        assert!(
            told.starts_with(path) && told.contains(why),
            "{failover} {of_model}: {told:?}"
        );
        assert_eq!(
            told.is_empty(),
            expected.is_none(),
            "{failover} {of_model}: {told}"
        );
    }
}

#[test]
fn a_drill_for_all_passes_by_chains_of_one_provider() {
    let mut document = with("host", json!({"body_pause": true}));
    document["failover"] = json!({"drill": 0.1, "via": "native"});
    document["models"]["mini"] = document["models"]["gpt-4o"].clone();
    document["models"]["batch"] = document["models"]["gpt-4o"].clone();
    document["models"]["batch"]["failover"] = json!({"attempts": 1});
    add_backup(&mut document);
    assert_eq!(read(&document).map(|policy| policy.models.len()), Ok(3));
}

#[test]
fn a_span_grows_with_tokens_and_never_overflows() {
    let second = Duration::from_secs(1);
    let grown = Grown {
        base: second,
        per_1k_prompt: second,
        per_1k_output: second,
    };
    assert_eq!(grown.of(500, 1_500), 3 * second);
    assert!(grown.of(u64::MAX, u64::MAX) > 1_000_000 * second);
}

#[test]
fn a_ladder_that_asks_again_needs_an_attempt_and_somebody_to_ask() {
    let mut document = with("host", json!({"body_pause": true}));
    let mut told = |rungs: serde_json::Value, attempts: u32, chain: serde_json::Value| {
        document["validate"] = json!([{"schema": true}, {"schema": true, "on_invalid": rungs}]);
        document["failover"] = json!({"attempts": attempts});
        document["providers"]["backup"] = document["providers"]["openai"].clone();
        document["models"]["gpt-4o"]["chain"] = chain;
        read(&document).map_or_else(|message| message, |_| "accepted".to_owned())
    };
    let (one, two) = (
        json!(["openai/gpt-4o"]),
        json!(["openai/gpt-4o", "backup/gpt-4o"]),
    );
    assert_eq!(told(json!(["retry"]), 3, one.clone()), "accepted");
    assert_eq!(told(json!(["fallback"]), 2, two.clone()), "accepted");
    assert_eq!(
        told(json!(["retry"]), 1, two),
        "validate[1].on_invalid: asks for another answer, and failover.attempts is 1 (allowed: failover.attempts from 2 \
         to 5 for one of its models)"
    );
    assert_eq!(
        told(json!(["retry", "fallback"]), 3, one),
        "validate[1].on_invalid: falls back, and no chain of its models has a second hop (allowed: fallback where there is \
         another candidate; retry asks the same one)"
    );
}
