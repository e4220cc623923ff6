//! Complete texts and bodies.

use serde_json::{Value, json};

use super::{ALL, Numbers, all, escaped, lines, masked, meant, plan, policy};
use crate::dialect::{Endpoint, scan};
use crate::guard::{Kind, Plan, Watch, find};
use crate::policy::{Mode, Side};

#[test]
fn the_same_value_gets_the_same_placeholder_and_others_their_own() {
    let plan = all("mask", Side::Request);
    assert_eq!(
        masked(&plan, "a@b.co, c@d.eu, a@b.co and 10.0.0.1"),
        "[EMAIL_1], [EMAIL_2], [EMAIL_1] and [IP_1]"
    );
    assert_eq!(
        masked(&plan, "nothing to see: 1.2.3, #12345"),
        "nothing to see: 1.2.3, #12345"
    );
}

#[test]
fn a_match_is_found_across_escapes_and_the_rest_stays_as_it_was_written() {
    let plan = all("mask", Side::Request);
    assert_eq!(
        masked(
            &plan,
            r#"\u00e9 \"a\u0040b\u002eco\"\n4242\u00204242 4242 4242\t\/x"#
        ),
        r#"\u00e9 \"[EMAIL_1]\"\n[CARD_1]\t\/x"#
    );
    assert_eq!(
        masked(&plan, r"\ud83d\ude00a@b.co\ud83d"),
        r"\ud83d\ude00[EMAIL_1]\ud83d"
    );
}

#[test]
fn a_body_stays_json_and_nothing_that_was_found_stays_in_it() {
    let plan = all("mask", Side::Request);
    let mut numbers = Numbers(7);
    for some in lines().chunks(5) {
        let contents = some.iter().map(|line| escaped(line, &mut numbers));
        let messages: Vec<String> = contents
            .map(|raw| format!(r#"{{"role":"user","content":[{{"type":"text","text":"{raw}"}}]}}"#))
            .collect();
        let body = format!(r#"{{"model":"gpt-4o","messages":[{}]}}"#, messages.join(","));
        let facts = scan(Endpoint::ChatCompletions, body.as_bytes()).unwrap();
        let out = Watch::default().mask_spans(&plan, body.as_bytes(), &facts.prompt.texts);
        let out = out.unwrap_or_else(|| body.clone().into_bytes());
        let out: Value = serde_json::from_slice(&out).unwrap();
        for (at, line) in some.iter().enumerate() {
            let text = out["messages"][at]["content"][0]["text"].as_str().unwrap();
            for (_, place) in find(line, Kind::NAMED.into_iter().collect()) {
                assert!(!text.contains(&line[place]), "{text}");
            }
            assert_eq!(find(text, Kind::NAMED.into_iter().collect()), [], "{text}");
        }
    }
}

#[test]
fn what_was_restored_is_what_was_there() {
    let guards = json!([{"kinds": ALL, "action": "restore", "words": ["London"], "patterns": ["[A-Z]{2,5}-[0-9]{1,8}"]}]);
    let (request, answer) = (plan(guards.clone(), Side::Request), plan(guards, Side::Answer));
    let mut numbers = Numbers(99);
    let odd = [
        "[EMAIL_1] and a@b.co",
        "london [WORD_1] [WORD_2] \"[API_KEY_12]\"",
        "[EMAIL_01] [EMAIL_] [EMAIL_99999999]",
    ];
    for line in lines().into_iter().chain(odd.map(str::to_owned)) {
        let raw = escaped(&line, &mut numbers);
        let mut watch = Watch::default();
        let Some(sent) = watch.mask(&request, raw.as_bytes()) else {
            continue;
        };
        assert_ne!(meant(&sent), line);
        let back = watch.mask(&answer, &sent).unwrap();
        assert_eq!(meant(&back), line, "{}", meant(&sent));
    }
}

#[test]
fn an_answer_gets_back_only_what_was_set_aside() {
    let guards =
        json!([{"kinds": ["email"], "action": "restore"}, {"kinds": ["ip", "card"], "action": "mask"}]);
    let (request, answer) = (plan(guards.clone(), Side::Request), plan(guards, Side::Answer));
    let mut watch = Watch::default();
    let sent = watch.mask(&request, b"a@b.co at 10.0.0.1").unwrap();
    assert_eq!(sent, b"[EMAIL_1] at [IP_1]");
    let back = watch
        .mask(
            &answer,
            br"[EMAIL\u005f1], [EMAIL_2], [IP_1], 10.0.0.2, 10.0.0.1, c@d.eu",
        )
        .unwrap();
    assert_eq!(back, b"a@b.co, [EMAIL_2], [IP_1], [IP_2], [IP_1], c@d.eu");
}

#[test]
fn the_strictest_that_binds_decides_and_every_guard_counts() {
    let guards = json!([
        {"kinds": ["email"], "action": "detect"},
        {"kinds": ["email", "card"], "action": "mask"},
        {"kinds": ["card"], "action": "block", "mode": "shadow"},
    ]);
    let plan = plan(guards, Side::Request);
    let mut watch = Watch::default();
    let out = watch.mask(&plan, b"a@b.co, 4242424242424242, c@d.eu").unwrap();
    assert_eq!(out, b"[EMAIL_1], [CARD_1], [EMAIL_2]");
    assert_eq!(watch.blocked(), None);
    let counts: Vec<_> = watch.counts().collect();
    let expected = [
        (0, Kind::Email, 2),
        (1, Kind::Email, 2),
        (1, Kind::Card, 1),
        (2, Kind::Card, 1),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn a_blocked_exchange_names_its_guard_and_kind() {
    let plan = plan(
        json!([{"kinds": ["ssn"], "action": "detect"}, {"kinds": ["ip"], "action": "block"}]),
        Side::Request,
    );
    let mut watch = Watch::default();
    assert_eq!(watch.mask(&plan, b"at 10.0.0.1"), None);
    assert_eq!(watch.blocked(), Some((1, Kind::Ip)));
}

#[test]
fn in_shadow_nothing_changes_and_everything_counts() {
    let policy =
        policy(json!([{"kinds": ["email"], "action": "block"}, {"kinds": ["ip"], "action": "restore"}]));
    let plan = Plan::of(policy.guards.iter().enumerate(), Side::Request, Mode::Shadow).unwrap();
    let mut watch = Watch::default();
    assert_eq!(watch.mask(&plan, b"a@b.co at 10.0.0.1"), None);
    assert_eq!((watch.blocked(), watch.counts().count()), (None, 2));
}

#[test]
fn words_match_whole_and_patterns_as_they_are_written() {
    let guards = json!([{"words": ["Project Blue", "Straße", "秘密"], "patterns": [r"\bEMP[0-9]{6}\b"], "action": "mask"}]);
    let plan = plan(guards, Side::Request);
    assert_eq!(
        masked(
            &plan,
            "PROJECT BLUE, project bluebell, my_project blue, STRASSEN, straße, 这是秘密计划"
        ),
        "[WORD_1], project bluebell, my_project blue, STRASSEN, [WORD_2], 这是[WORD_3]计划"
    );
    assert_eq!(
        masked(&plan, "EMP123456 XEMP123456 EMP1234567"),
        "[PATTERN_1] XEMP123456 EMP1234567"
    );
}

#[test]
fn what_matches_inside_of_something_that_only_counts_is_masked_nevertheless() {
    let guards = json!([{"kinds": ["email"], "action": "detect"}, {"words": ["acme"], "action": "mask"}]);
    assert_eq!(
        masked(&plan(guards, Side::Request), "to ann@acme.com"),
        "to ann@[WORD_1].com"
    );
}

#[test]
fn stretches_of_json_change_within_their_strings_only() {
    let plan = all("mask", Side::Request);
    let body = br#"{"a":"a@b.co","n":4242424242424242,"b":["x\"10.0.0.1","y"]}"#;
    let out = Watch::default().mask_spans(&plan, body, &[&body[5..]]).unwrap();
    assert_eq!(
        out,
        br#"{"a":"[EMAIL_1]","n":4242424242424242,"b":["x\"[IP_1]","y"]}"#
    );
    assert!(serde_json::from_slice::<Value>(&out).is_ok());
}

#[test]
fn spans_may_come_in_any_order_and_strangers_are_passed_over() {
    let plan = all("mask", Side::Request);
    let body = br#"["a@b.co","c@d.eu"]"#;
    let spans: [&[u8]; 4] = [&body[11..17], b"e@f.gh", &body[2..8], &body[4..9]];
    let out = Watch::default().mask_spans(&plan, body, &spans).unwrap();
    assert_eq!(out, br#"["[EMAIL_1]","[EMAIL_2]"]"#);
}

#[test]
fn who_speaks_is_never_masked() {
    let plan = plan(json!([{"words": ["user"], "action": "mask"}]), Side::Request);
    let body = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"the user"}]}"#;
    let facts = scan(Endpoint::ChatCompletions, body).unwrap();
    let out = Watch::default()
        .mask_spans(&plan, body, &facts.prompt.texts)
        .unwrap();
    assert_eq!(
        out,
        br#"{"model":"gpt-4o","messages":[{"role":"user","content":"the [WORD_1]"}]}"#
    );
}

#[test]
fn beyond_the_table_values_are_masked_without_a_number() {
    let plan = all("restore", Side::Request);
    let text: Vec<String> = (0..5_000).map(|n| format!("u{n}@b.co")).collect();
    let out = masked(&plan, &text.join(","));
    assert!(out.contains("[EMAIL_4096],[EMAIL],[EMAIL]") && !out.contains('@'));
}
