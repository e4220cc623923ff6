//! Headers of a client's that aren't for everybody: its credentials and cookies for nobody, its account at one provider for
//! that one, its protocol's for those that speak it.

use super::router::*;
use super::*;

/// A client that sends all of them.
fn laden(request: Request) -> Request {
    [
        ("authorization", "Bearer of-the-client"),
        ("x-api-key", "of-the-client"),
        ("api-key", "of-the-client"),
        ("x-goog-api-key", "of-the-client"),
        ("proxy-authorization", "Basic of-the-client"),
        ("cookie", "session=of-the-client"),
        ("openai-organization", "org-of-the-client"),
        ("openai-project", "proj-of-the-client"),
        ("openai-beta", "assistants=v2"),
        ("anthropic-beta", "one"),
        ("anthropic-beta", "two"),
        ("anthropic-version", "2023-01-01"),
    ]
    .into_iter()
    .fold(request, |request, (name, value)| request.with(name, value))
}

/// All headers but the router's and the lengths.
fn seen(headers: &Fields) -> Vec<(String, String)> {
    let of_host = |name: &str| {
        matches!(
            name,
            "content-length" | "x-envoy-attempt-count" | "x-spillway-cluster"
        )
    };
    let mut seen: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !of_host(name))
        .map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap()))
        .collect();
    seen.sort();
    seen
}

fn expected(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let common = [
        (":method", "POST"),
        ("accept-encoding", "identity"),
        ("content-type", "application/json"),
    ];
    let all = common.iter().chain(more);
    let mut all: Vec<_> = all
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    all.sort();
    all
}

const OF_OPENAI: &[(&str, &str)] = &[
    (":authority", "api.openai.com"),
    (":path", "/v1/chat/completions"),
    ("authorization", "Bearer sk-s3cr3t-openai"),
    ("openai-beta", "assistants=v2"),
    ("openai-organization", "org-of-the-client"),
    ("openai-project", "proj-of-the-client"),
];

#[test]
fn each_attempt_is_sent_what_is_meant_for_it_byte_by_byte() {
    let mut lab = native(json!({}));
    let does = [
        ("openai", failing(503)),
        ("backup", failing(503)),
        ("anthropic", failing(503)),
    ];
    let (_, sent) = routed(&mut lab, &laden(chat(json!({}))), &does);
    assert_eq!(seen(&sent[0].headers), expected(OF_OPENAI));
    let backup = [
        (":authority", "gateway.test"),
        (":path", "/v1/chat/completions"),
        ("openai-beta", "assistants=v2"),
        ("x-backup-key", OPENAI_KEY),
    ];
    assert_eq!(seen(&sent[1].headers), expected(&backup));
    let anthropic = [
        (":authority", "gateway.test"),
        (":path", "/proxied/v1/messages"),
        ("anthropic-version", "2023-06-01"),
    ];
    assert_eq!(seen(&sent[2].headers), expected(&anthropic));
}

#[test]
fn an_attempt_back_at_the_first_provider_is_sent_what_the_first_would_have_been() {
    let mut lab = native(json!({"failover": {"drill": 1}}));
    let does = [
        ("backup", failing(503)),
        ("openai", failing(503)),
        ("anthropic", failing(503)),
    ];
    let (_, sent) = routed(&mut lab, &laden(chat(json!({}))), &does);
    assert_eq!(seen(&sent[1].headers), expected(OF_OPENAI));
}

#[test]
fn a_message_keeps_its_protocol_s_headers_where_that_is_spoken() {
    let models = json!({"models": {"claude": {"chain": ["openai/gpt-4o", "anthropic/claude"]}}});
    let mut lab = native(models);
    let does = [("openai", failing(503)), ("anthropic", failing(503))];
    let (_, sent) = routed(&mut lab, &laden(message(json!({}))), &does);
    let openai = [
        (":authority", "api.openai.com"),
        (":path", "/v1/chat/completions"),
        ("authorization", "Bearer sk-s3cr3t-openai"),
    ];
    assert_eq!(seen(&sent[0].headers), expected(&openai));
    let anthropic = [
        (":authority", "gateway.test"),
        (":path", "/proxied/v1/messages"),
        ("anthropic-beta", "one,two"),
        ("anthropic-version", "2023-01-01"),
    ];
    assert_eq!(seen(&sent[1].headers), expected(&anthropic));
}

#[test]
fn what_the_host_sends_on_is_held_to_the_same() {
    let first = Lab::new(json!({})).send(&laden(chat(json!({}))));
    assert_eq!(seen(&first.headers), expected(OF_OPENAI));
    let open = json!({"providers": {"openai": {"breaker": {"force": "open"}}}});
    let backup = [
        (":path", "/v1/chat/completions"),
        (":authority", "gateway.test"),
        ("openai-beta", "assistants=v2"),
    ];
    let next = Lab::new(open.clone()).send(&laden(chat(json!({}))));
    assert_eq!(seen(&next.headers), expected(&backup));
    let request = laden(chat(json!({}))).with("x-model", "gpt-4o");
    let mut ahead = Lab::headers_first(open).send(&request);
    ahead.headers.retain(|(name, _)| name != "x-model");
    assert_eq!(seen(&ahead.headers), expected(&backup));
}

#[test]
fn a_callout_is_sent_no_more() {
    let mut lab = Lab::new(json!({"failover": {"via": "callout"}}));
    let mut call = lab.send(&laden(chat(json!({}))));
    assert_eq!(
        seen(&call.headers)[4..].len(),
        expected(OF_OPENAI)[4..].len() + 1,
        "and a timeout for the host"
    );
    call.respond(&mut lab, 503, &[], false);
    let asked = call.call.take().unwrap();
    let mut headers = asked.headers;
    headers.sort();
    let backup = [
        (":path", "/v1/chat/completions"),
        (":authority", "gateway.test"),
        ("openai-beta", "assistants=v2"),
    ];
    assert_eq!(headers, expected(&backup));
}

#[test]
fn an_account_is_the_chains_first_candidates_on_every_host() {
    let chain = |places: [&str; 2]| json!({"models": {"gpt-4o": {"chain": places}}});
    let (first, other) = ("openai/gpt-4o", "backup/gpt-4o");
    for (places, is_first) in [
        ([first, other], true),
        ([other, first], true),
        // What speaks another dialect is passed over, and isn't fallen back from.
        (["anthropic/claude", first], false),
    ] {
        let request = laden(chat(json!({}))).with("x-model", "gpt-4o");
        for mut lab in [Lab::new(chain(places)), Lab::headers_first(chain(places))] {
            let call = lab.send(&request);
            let sent = ["openai-organization", "openai-project"].map(|name| call.header(name).is_some());
            assert_eq!(sent, [is_first; 2], "{places:?}");
        }
    }
}
