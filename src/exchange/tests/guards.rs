//! Guards at work: what clients and providers see of what may not pass.

use serde_json::{Value, json};

use super::{Call, DONE, Ending, Lab, Request, answered, chat, delta, message, usage};
use crate::exchange::{CallAnswer, Effects, Exchange};

const MAIL: &str = "ann.lee@example.com";
const CARD: &str = "4242 4242 4242 4242";

/// A policy with one guard for e-mail addresses and cards.
fn guard(action: &str) -> Value {
    json!({"guards": [{"name": "pii", "kinds": ["email", "card"], "action": action}]})
}

fn with(mut document: Value, changes: Value) -> Value {
    super::merge(&mut document, changes);
    document
}

/// A request in each dialect that says these words.
fn requests(words: &str, stream: bool) -> [Request; 3] {
    let messages = json!([{"role": "user", "content": words}]);
    let response = json!({"model": "gpt-4o", "input": words, "stream": stream});
    [
        chat(json!({"messages": messages, "stream": stream})),
        Request::post("/v1/responses", response.to_string()),
        message(json!({"messages": messages, "stream": stream})),
    ]
}

/// A whole answer in each dialect with this text and these arguments of a tool.
fn whole(text: &str, arguments: &Value) -> [String; 3] {
    let written = arguments.to_string();
    let chat = json!({"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": text, "tool_calls": [
            {"id": "t", "type": "function", "function": {"name": "send", "arguments": written}}]}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 41}});
    let response = json!({"id": "r1", "object": "response", "model": "gpt-4o", "status": "completed", "output": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]},
        {"type": "function_call", "name": "send", "call_id": "t", "arguments": written}],
        "usage": {"input_tokens": 9, "output_tokens": 41}});
    let message = json!({"id": "m1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": text}, {"type": "tool_use", "id": "t", "name": "send", "input": arguments}],
        "usage": {"input_tokens": 9, "output_tokens": 41}});
    [chat, response, message].map(|body| body.to_string())
}

/// A stream in each dialect: the text in these pieces, then a tool call with its arguments in these.
fn streams(text: &[&str], arguments: &[&str]) -> [String; 3] {
    [
        chat_stream(text, arguments),
        response_stream(text, arguments),
        message_stream(text, arguments),
    ]
}

fn chat_stream(text: &[&str], arguments: &[&str]) -> String {
    let chunk = |delta: Value, reason: Value| {
        let chunk = json!({"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "gpt-4o",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
        format!("data: {chunk}\n\n")
    };
    let call = |arguments: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]});
    let mut out = chunk(json!({"role": "assistant", "content": ""}), Value::Null);
    let pieces = text
        .iter()
        .map(|piece| chunk(json!({"content": piece}), Value::Null));
    out.extend(pieces);
    let begun = json!({"tool_calls": [{"index": 0, "id": "t", "type": "function",
        "function": {"name": "send", "arguments": ""}}]});
    out.push_str(&chunk(begun, Value::Null));
    out.extend(arguments.iter().map(|piece| chunk(call(piece), Value::Null)));
    out.push_str(&chunk(json!({}), json!("tool_calls")));
    out + &usage(9, 41) + DONE
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

fn response_stream(text: &[&str], arguments: &[&str]) -> String {
    let (said, written) = (text.concat(), arguments.concat());
    let part = json!({"type": "output_text", "text": said, "annotations": []});
    let item = json!({"type": "message", "id": "i0", "role": "assistant", "content": [part]});
    let call =
        json!({"type": "function_call", "id": "i1", "name": "send", "call_id": "t", "arguments": written});
    let mut out = event(
        &json!({"type": "response.created", "response": {"id": "r1", "model": "gpt-4o", "output": []}}),
    );
    for piece in text {
        out += &event(
            &json!({"type": "response.output_text.delta", "item_id": "i0", "output_index": 0,
            "content_index": 0, "delta": piece, "logprobs": [], "sequence_number": 3}),
        );
    }
    let at = json!({"item_id": "i0", "output_index": 0, "content_index": 0});
    out += &event(&with(
        json!({"type": "response.output_text.done", "text": said}),
        at.clone(),
    ));
    out += &event(&with(
        json!({"type": "response.content_part.done", "part": part}),
        at,
    ));
    out += &event(&json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    for piece in arguments {
        out += &event(
            &json!({"type": "response.function_call_arguments.delta", "item_id": "i1", "output_index": 1,
            "delta": piece}),
        );
    }
    out += &event(
        &json!({"type": "response.function_call_arguments.done", "item_id": "i1", "output_index": 1,
        "arguments": written}),
    );
    out + &event(
        &json!({"type": "response.completed", "response": {"id": "r1", "model": "gpt-4o",
        "status": "completed", "output": [item, call], "usage": {"input_tokens": 9, "output_tokens": 41}}}),
    )
}

fn message_stream(text: &[&str], arguments: &[&str]) -> String {
    let mut out = event(
        &json!({"type": "message_start", "message": {"id": "m1", "model": "claude", "content": [],
        "usage": {"input_tokens": 9, "output_tokens": 1}}}),
    );
    let mut block = |index: u32, begun: Value, deltas: Vec<Value>| {
        out += &event(&json!({"type": "content_block_start", "index": index, "content_block": begun}));
        for delta in deltas {
            out += &event(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        out += &event(&json!({"type": "content_block_stop", "index": index}));
    };
    let said = text
        .iter()
        .map(|piece| json!({"type": "text_delta", "text": piece}));
    block(0, json!({"type": "text", "text": ""}), said.collect());
    let input = arguments
        .iter()
        .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
    block(
        1,
        json!({"type": "tool_use", "id": "t", "name": "send", "input": {}}),
        input.collect(),
    );
    out += &event(
        &json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 41}}),
    );
    out + &event(&json!({"type": "message_stop"}))
}

/// What a client puts together of a stream in any dialect: the text, and the arguments of its tool.
fn heard(stream: &str) -> (String, String) {
    let (mut text, mut arguments) = (String::new(), String::new());
    for line in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let Ok(data) = serde_json::from_str::<Value>(line) else {
            assert_eq!(line, "[DONE]");
            continue;
        };
        let arguments_here = [
            &data["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"],
            &data["delta"]["partial_json"],
        ];
        arguments.extend(arguments_here.into_iter().filter_map(Value::as_str));
        let of_tool = data["type"] == "response.function_call_arguments.delta";
        let responses = if of_tool { &mut arguments } else { &mut text };
        responses.push_str(data["delta"].as_str().unwrap_or_default());
        let texts = [&data["choices"][0]["delta"]["content"], &data["delta"]["text"]];
        text.extend(texts.into_iter().filter_map(Value::as_str));
    }
    (text, arguments)
}

/// A lab for one stream after the other, with room for all of them.
fn many(action: &str) -> Lab {
    let limits = json!({"limits": [{"name": "tokens", "per": ["caller"], "tokens": "1000M/min"}]});
    Lab::new(with(guard(action), limits))
}

/// Sends a stream cut in two; answers what it was charged, too.
fn cut(lab: &mut Lab, (request, stream): (&Request, &str), at: usize) -> (Call, u64) {
    let (head, tail) = stream.split_at(at);
    lab.effects = Effects::default();
    let before = lab.used("acme");
    let call = streamed(lab, request, &[head, tail]);
    let charged = lab.used("acme") - before;
    (call, charged)
}

/// At every byte of a chat; of the others, whose tests take as long, at every third.
fn step_of(request: &Request) -> usize {
    let of_chat = |(_, value): &(String, Vec<u8>)| value == b"/v1/chat/completions";
    if request.headers.iter().any(of_chat) { 1 } else { 3 }
}

fn streamed(lab: &mut Lab, request: &Request, chunks: &[&str]) -> Call {
    let mut call = lab.send(request);
    assert!(call.reply.is_none(), "{:?}", call.reply);
    call.stream(lab, chunks);
    if call.reply.is_none() {
        call.chunk(lab, "", true);
    }
    call
}

fn sent(call: &Call) -> String {
    String::from_utf8(call.body.clone()).unwrap()
}

#[test]
fn no_provider_sees_what_is_masked() {
    for action in ["mask", "restore"] {
        for request in requests(&format!("mail {MAIL} about {CARD}"), false) {
            let mut lab = Lab::new(guard(action));
            let call = lab.send(&request);
            let sent = sent(&call);
            assert!(sent.contains("mail [EMAIL_1] about [CARD_1]"), "{sent}");
            assert!(!sent.contains("ann") && !sent.contains("4242"), "{sent}");
            assert_eq!(call.header("content-length"), Some(sent.len().to_string()));
            assert_eq!(
                lab.metric(&format!("spillway.guard.rule=pii.type=email.decision={action}")),
                1
            );
        }
    }
}

#[test]
fn what_goes_to_a_provider_beside_the_prompt_is_masked_too() {
    let mut lab = Lab::new(guard("mask"));
    let request = chat(
        json!({"user": MAIL, "metadata": {"id": MAIL}, "prediction": {"content": MAIL},
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": format!("https://x/?{MAIL}")}}]}]}),
    );
    let call = lab.send(&request);
    assert!(!sent(&call).contains("ann"), "{}", sent(&call));
}

#[test]
fn tokens_are_counted_of_what_the_provider_bills() {
    let words = format!("{MAIL} ").repeat(200);
    let (mut plain, mut guarded) = (Lab::new(json!({})), Lab::new(guard("mask")));
    let [request, ..] = requests(&words, false);
    let (one, other) = (plain.send(&request), guarded.send(&request));
    let estimate =
        |call: Call, lab: &mut Lab| call.end(lab, Ending::ClientAbort)["estimate"].as_u64().unwrap();
    let (one, other) = (estimate(one, &mut plain), estimate(other, &mut guarded));
    assert!(one != other, "{one} {other}");
}

#[test]
fn a_client_gets_back_what_it_said() {
    let arguments = json!({"to": "[EMAIL_1]", "note": "[CARD_1], [EMAIL_2]"});
    let answers = whole("I mail [EMAIL_1] about [CARD_1], not [EMAIL_2].", &arguments);
    for (request, answer) in requests(&format!("mail {MAIL} about {CARD}"), false)
        .iter()
        .zip(answers)
    {
        for mut lab in [Lab::new(guard("restore")), headers_first(guard("restore"))] {
            let call = lab.exchange(&request.clone().with("x-model", model_of(request)), 200, &answer);
            let text = call.answer_text();
            let expected = answer.replace("[EMAIL_1]", MAIL).replace("[CARD_1]", CARD);
            assert_eq!(text, expected);
            assert_eq!(lab.used("acme"), 50);
        }
    }
}

fn headers_first(changes: Value) -> Lab {
    Lab::headers_first(changes)
}

fn model_of(request: &Request) -> &'static str {
    let of_claude = request.headers.iter().any(|(_, value)| value == b"/v1/messages");
    if of_claude { "claude" } else { "gpt-4o" }
}

#[test]
fn what_is_put_back_into_arguments_leaves_them_json() {
    let policy = json!({"guards": [{"words": ["a \"b\" \\ c"], "patterns": ["x\\ny"], "action": "restore"}]});
    let words = "say a \"b\" \\ c and x\ny";
    let arguments = json!({"quote": "[WORD_1]", "lines": "[PATTERN_1]"});
    let expected = json!({"quote": "a \"b\" \\ c", "lines": "x\ny"});
    let written = arguments.to_string();
    for request in [false, true].map(|stream| requests(words, stream)[0].clone()) {
        let mut lab = Lab::new(policy.clone());
        let call = lab.exchange(&request, 200, &whole("", &arguments)[0]);
        let answer: Value = serde_json::from_slice(&call.answer).unwrap();
        let got = answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].clone();
        assert_eq!(
            serde_json::from_str::<Value>(got.as_str().unwrap()).unwrap(),
            expected
        );
    }
    for (request, stream) in requests(words, true).iter().zip(streams(&["hi"], &[&written])) {
        let mut lab = Lab::new(policy.clone());
        let (_, got) = heard(&streamed(&mut lab, request, &[&stream]).answer_text());
        assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), expected);
    }
}

#[test]
fn a_number_in_arguments_becomes_a_string_of_them() {
    let arguments = r#"{"card":4242424242424242,"mail":"ann.lee@example.com"}"#;
    let expected = r#"{"card":"[CARD_1]","mail":"[EMAIL_1]"}"#;
    for stream in streams(&["hi"], &[arguments]).iter().take(2) {
        let at = usize::from(stream.starts_with("event"));
        let request = &requests("hi", true)[at];
        let got = streamed(&mut Lab::new(guard("mask")), request, &[stream]).answer_text();
        assert_eq!(heard(&got).1, expected, "{got}");
    }
    let mut answer: Value = serde_json::from_str(&whole("hi", &json!({}))[0]).unwrap();
    let place = "/choices/0/message/tool_calls/0/function/arguments";
    *answer.pointer_mut(place).unwrap() = json!(arguments);
    let call = Lab::new(guard("mask")).exchange(&chat(json!({})), 200, &answer.to_string());
    let got: Value = serde_json::from_slice(&call.answer).unwrap();
    assert_eq!(got.pointer(place).unwrap(), expected);
}

#[test]
fn masked_text_never_leaves_a_stream_wherever_it_is_cut() {
    let text = [
        "Write to ann.",
        "lee@exam",
        "ple.com; card 4242 42",
        "42 4242 4242 is hers",
        ".",
    ];
    let arguments = [
        r#"{"to":"ann."#,
        r#"lee@example.com","card":"4242"#,
        r#" 4242 4242 4242"}"#,
    ];
    for (request, stream) in requests("hi", true).iter().zip(streams(&text, &arguments)) {
        let (mut lab, mut whole) = (many("mask"), String::new());
        for at in (0..stream.len()).step_by(step_of(request)) {
            let got = cut(&mut lab, (request, &stream), at).0.answer_text();
            if at == 0 {
                let expected = "Write to [EMAIL_1]; card [CARD_1] is hers.";
                let said = r#"{"to":"[EMAIL_1]","card":"[CARD_1]"}"#;
                assert_eq!(heard(&got), (expected.to_owned(), said.to_owned()), "{got}");
                assert!(!got.contains("example") && !got.contains("4242"), "{got}");
                whole = got;
            } else {
                assert_eq!(got, whole, "cut at {at}");
            }
        }
    }
}

#[test]
fn what_was_said_comes_back_wherever_a_stream_is_cut() {
    let text = ["I wrote to [EM", "AIL_1] abo", "ut [CARD", "_1", "]"];
    let arguments = [r#"{"to":"[EMAI"#, r#"L_1]"}"#];
    let words = format!("mail {MAIL} about {CARD}");
    for (request, stream) in requests(&words, true).iter().zip(streams(&text, &arguments)) {
        let (mut lab, mut whole) = (many("restore"), String::new());
        for at in (0..stream.len()).step_by(5) {
            let (call, charged) = cut(&mut lab, (request, &stream), at);
            let got = call.answer_text();
            if at == 0 {
                let expected = format!("I wrote to {MAIL} about {CARD}");
                assert_eq!(heard(&got), (expected, format!(r#"{{"to":"{MAIL}"}}"#)), "{got}");
                assert!(!got.contains("_1]"), "{got}");
                whole = got;
            } else {
                assert_eq!(got, whole, "cut at {at}");
            }
            assert_eq!(charged, 50);
        }
    }
}

#[test]
fn what_has_nothing_to_hide_passes_as_it_came() {
    for (request, answer) in requests("hi", false)
        .iter()
        .zip(whole("hello", &json!({"a": "b"})))
    {
        let call = Lab::new(guard("mask")).exchange(request, 200, &answer);
        assert_eq!(call.answer_text(), answer);
    }
    let mut lab = Lab::new(guard("restore"));
    let mut call = lab.send(&chat(json!({"stream": true})));
    assert!(call.header("content-length").is_some());
    let words = delta("Hello, my dear ", None);
    call.stream(&mut lab, &[&words]);
    assert_eq!(
        call.answer_text(),
        words,
        "nothing is to be put back, so nothing is held"
    );
}

#[test]
fn a_word_is_no_later_than_its_end() {
    let mut lab = Lab::new(guard("mask"));
    let mut call = lab.send(&chat(json!({"stream": true})));
    call.stream(&mut lab, &[&delta("Hello, my dear fri", None)]);
    assert_eq!(heard(&call.answer_text()).0, "Hello, my dear");
    call.chunk(&mut lab, &delta("end of the house", None), false);
    assert_eq!(heard(&call.answer_text()).0, "Hello, my dear friend of the");
}

#[test]
fn a_blocked_request_is_told_where_and_what_kind_and_no_more() {
    for request in requests(&format!("mail {MAIL}"), false) {
        for mut lab in [Lab::new(guard("block")), headers_first(guard("block"))] {
            let call = lab.send(&request.clone().with("x-model", model_of(&request)));
            assert_eq!(call.refused(), Some(400));
            let told = call.reply_json().to_string();
            assert!(told.contains("pii") && told.contains("email"), "{told}");
            assert!(
                told.contains("messages[0].content") || told.contains("at input"),
                "{told}"
            );
            assert!(!told.contains("ann"), "{told}");
            assert_eq!(call.reply_header("x-should-retry").as_deref(), Some("false"));
            assert_eq!(lab.used("acme"), 0);
            assert_eq!(lab.metric("spillway.refused.reason=guard"), 1);
            let record = call.record(&mut lab);
            assert_eq!(record["refused"], "guard");
            assert_eq!(
                record["guards"],
                json!([{"guard": "pii", "kind": "email", "found": 1}])
            );
            assert!(!record.to_string().contains("ann"));
        }
    }
}

#[test]
fn a_blocked_answer_never_comes() {
    let policy = json!({"guards": [{"kinds": ["card"], "on": ["answer"], "action": "block"}]});
    let answers = whole("ok", &json!({"card": CARD}));
    for (request, answer) in requests("hi", false).iter().zip(answers) {
        let mut lab = Lab::new(policy.clone());
        let call = lab.exchange(request, 200, &answer);
        assert_eq!(call.refused(), Some(502));
        let told = call.reply_json().to_string();
        assert!(told.contains("card") && !told.contains("4242"), "{told}");
        assert_eq!(lab.used("acme"), 50);
        assert_eq!(call.record(&mut lab)["refused"], "guard");

        let mut lab = headers_first(policy.clone());
        let call = lab.exchange(&request.clone().with("x-model", model_of(request)), 200, &answer);
        let told: Value = serde_json::from_slice(&call.answer).unwrap();
        assert!(told["error"]["message"].is_string() && !told.to_string().contains("4242"));
        assert_eq!(lab.used("acme"), 50);
    }
}

#[test]
fn a_blocked_stream_ends_in_an_error_wherever_it_is_cut() {
    let text = ["Her card is 42", "42 4242 4242", " 4242, and more"];
    for (request, stream) in requests("hi", true).iter().zip(streams(&text, &["{}"])) {
        let mut lab = many("block");
        for at in (0..stream.len()).step_by(5) {
            let (call, charged) = cut(&mut lab, (request, &stream), at);
            let got = call.answer_text();
            let events: Vec<&str> = got.split_terminator("\n\n").collect();
            let last = events.last().unwrap();
            assert!(last.contains("guard") && last.contains("error"), "{got}");
            assert!(
                !got.contains("42") && !got.contains("[DONE]") && !got.contains("stop\""),
                "{got}"
            );
            let (said, _) = heard(&got);
            assert_eq!(said, "Her card is", "{got}");
            assert_eq!(charged, 50, "what it cost is charged");
            assert_eq!(lab.metric("spillway.stream.error.provider=openai"), 0);
            assert_eq!(call.record(&mut lab)["refused"], "guard");
        }
    }
}

#[test]
fn in_shadow_everything_is_found_and_nothing_changes() {
    let text = ["Her card is 42", "42 4242 4242", " 4242, and more"];
    for shadow in [json!({"mode": "shadow"}), json!({})] {
        let mut policy = with(guard("block"), shadow.clone());
        if shadow == json!({}) {
            policy["guards"][0]["mode"] = json!("shadow");
        }
        let words = format!("mail {MAIL}");
        for (request, stream) in requests(&words, true).iter().zip(streams(&text, &["{}"])) {
            let mut lab = Lab::new(policy.clone());
            let call = streamed(&mut lab, request, &[&stream[..99], &stream[99..]]);
            assert!(sent(&call).contains(MAIL));
            let plain = streamed(&mut Lab::new(json!({})), request, &[&stream[..99], &stream[99..]]);
            assert_eq!(call.answer_text(), plain.answer_text());
            let found = |kind| format!("spillway.guard.rule=pii.type={kind}.decision=shadow");
            assert_eq!((lab.metric(&found("email")), lab.metric(&found("card"))), (1, 1));
        }
        let answers = whole(&format!("her card is {CARD}"), &json!({}));
        for (request, answer) in requests(&words, false).iter().zip(answers) {
            let mut lab = Lab::new(policy.clone());
            let mut call = lab.send(request);
            call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
            call.chunk(&mut lab, &answer[..50], false);
            assert_eq!(call.answer_text(), answer[..50], "nothing is held");
            call.chunk(&mut lab, &answer[50..], true);
            assert_eq!(call.answer_text(), answer);
            let record = call.record(&mut lab);
            assert_eq!(record["guards"].as_array().unwrap().len(), 2);
        }
    }
}

#[test]
fn guards_look_where_their_policy_says() {
    let policy = json!({"guards": [
        {"kinds": ["email"], "action": "block", "when": {"model": ["gpt-4o-mini"]}},
        {"kinds": ["email"], "action": "block", "when": {"header": {"x-strict": "1"}}},
        {"kinds": ["email"], "action": "block", "when": {"path": "/v1/messages"}}]});
    let words = json!({"messages": [{"role": "user", "content": MAIL}]});
    let refused = |request: &Request| Lab::new(policy.clone()).send(request).refused();
    assert_eq!(refused(&chat(words.clone())), None);
    assert_eq!(refused(&chat(words.clone()).with("x-strict", "1")), Some(400));
    assert_eq!(refused(&message(words.clone())), Some(400));
    assert_eq!(
        refused(&chat(with(words, json!({"model": "gpt-4o-mini"})))),
        Some(400)
    );
}

#[test]
fn what_cannot_be_looked_at_is_refused_unless_the_policy_lets_it_go() {
    for (lenient, refused) in [("reject", [Some(415), Some(413)]), ("pass", [None, None])] {
        let policy = with(
            guard("mask"),
            json!({"on_encoded": "pass", "on_oversize": "pass", "on_unguarded": lenient,
                "bounds": {"request_body": "1KiB"}, "models": {"*": {"chain": ["openai/gpt-4o"]}}}),
        );
        let encoded = chat(json!({})).with("content-encoding", "gzip");
        let large = chat(json!({"messages": [{"role": "user", "content": "x".repeat(2_000)}]}));
        for (request, refused) in [encoded, large].iter().zip(refused) {
            let mut lab = Lab::new(policy.clone());
            assert_eq!(lab.send(request).refused(), refused);
            assert_eq!(lab.metric("spillway.guard.unguarded.type=request"), 1);
        }
    }
    let detects = with(
        guard("detect"),
        json!({"on_encoded": "pass", "models": {"*": {"chain": ["openai/gpt-4o"]}}}),
    );
    let encoded = chat(json!({})).with("content-encoding", "gzip");
    assert_eq!(Lab::new(detects).send(&encoded).refused(), None);
}

#[test]
fn an_answer_that_cannot_be_looked_at_is_refused_unless_the_policy_lets_it_go() {
    let json = ("content-type", "application/json");
    let encoded = [json, ("content-encoding", "gzip")];
    let strange = [("content-type", "text/plain")];
    for (lenient, passes) in [("reject", false), ("pass", true)] {
        let bounds =
            json!({"on_unguarded": lenient, "bounds": {"response_body": "1KiB", "sse_line": "1KiB"}});
        let policy = with(guard("mask"), bounds);
        for headers in [&encoded[..], &strange[..]] {
            let mut lab = Lab::new(policy.clone());
            let mut call = lab.send(&chat(json!({})));
            call.respond(&mut lab, 200, headers, false);
            assert_eq!(call.refused().is_none(), passes);
            assert_eq!(lab.metric("spillway.guard.unguarded.type=answer"), 1);
        }
        for mut lab in [Lab::new(policy.clone()), headers_first(policy.clone())] {
            let mut call = lab.send(&chat(json!({})).with("x-model", "gpt-4o"));
            call.respond(&mut lab, 200, &[json], false);
            let large = answered(&format!("{MAIL} {}", "x".repeat(2_000)), 9, 41);
            for part in [&large[..900], &large[900..1_500], &large[1_500..]] {
                if call.reply.is_none() {
                    call.chunk(&mut lab, part, false);
                }
            }
            if call.reply.is_none() {
                call.chunk(&mut lab, "", true);
            }
            match call.refused() {
                Some(status) => assert_eq!((status, passes), (502, false)),
                None => {
                    let got = call.answer_text();
                    assert_eq!(got.contains(MAIL), passes);
                    assert_eq!(got.contains("\"error\""), !passes, "{got}");
                }
            }
        }
        let mut lab = Lab::new(policy.clone());
        let long = delta(&format!("{MAIL} {}", "x".repeat(2_000)), None);
        let call = streamed(
            &mut lab,
            &chat(json!({"stream": true})),
            &[&long[..700], &long[700..], DONE],
        );
        assert_eq!(
            call.answer_text().contains(MAIL),
            passes,
            "{}",
            call.answer_text()
        );
        assert_eq!(call.answer_text().contains("\"error\""), !passes);
        assert_eq!(lab.metric("spillway.guard.unguarded.type=answer"), 1);
    }
}

#[test]
fn errors_of_providers_pass_as_they_are() {
    let mut lab = Lab::new(guard("block"));
    let body = json!({"error": {"message": format!("no such thing as {MAIL}")}}).to_string();
    let call = lab.exchange(&chat(json!({})), 400, &body);
    assert_eq!(call.answer_text(), body);
}

#[test]
fn text_told_token_by_token_is_left_out() {
    let mut lab = Lab::new(guard("mask"));
    let answer = json!({"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop",
        "logprobs": {"content": [{"token": "ann", "logprob": -1, "bytes": [97]}]}}]});
    let call = lab.exchange(&chat(json!({})), 200, &answer.to_string());
    let got: Value = serde_json::from_slice(&call.answer).unwrap();
    assert_eq!(got["choices"][0]["logprobs"], Value::Null);
    assert_eq!(got["choices"][0]["message"]["content"], "hi");
}

#[test]
fn a_verdict_is_on_what_the_client_gets() {
    let schema = json!({"type": "object", "required": ["to"], "properties": {"to": {"pattern": "@"}}});
    let policy = with(
        guard("restore"),
        json!({"validate": [{"name": "order", "schema": schema, "on_invalid": ["reject"]}]}),
    );
    let request = chat(json!({"messages": [{"role": "user", "content": MAIL}]}));
    let mut lab = Lab::new(policy.clone());
    let call = lab.exchange(&request, 200, &answered(r#"{"to": "[EMAIL_1]"}"#, 9, 41));
    assert_eq!(call.refused(), None);
    assert_eq!(
        call.answer_text(),
        answered(&format!(r#"{{"to": "{MAIL}"}}"#), 9, 41)
    );
    let call = lab.exchange(&request, 200, &answered(r#"{"to": "[EMAIL_2]"}"#, 9, 41));
    assert_eq!(call.refused(), Some(502));
}

#[test]
fn what_a_request_asks_of_its_answer_is_in_its_own_words() {
    let words = json!({"messages": [{"role": "user", "content": format!("write to {MAIL}, please")}]});
    let schema = json!({"type": "object", "properties": {"to": {"enum": [MAIL]}}, "required": ["to"]});
    let format =
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "o", "schema": schema}}});
    let grounding = json!({"fields": ["/to"], "at_least": 1, "otherwise": "reject"});
    for validation in [
        json!({"name": "own", "on_invalid": ["reject"]}),
        json!({"name": "own", "on_invalid": ["reject"], "grounding": grounding}),
    ] {
        let mut lab = Lab::new(with(guard("restore"), json!({"validate": [validation]})));
        let request = chat(with(words.clone(), format.clone()));
        let call = lab.exchange(&request, 200, &answered(r#"{"to": "[EMAIL_1]"}"#, 9, 41));
        assert_eq!(call.refused(), None, "{:?}", call.reply);
        assert_eq!(
            call.answer_text(),
            answered(&format!(r#"{{"to": "{MAIL}"}}"#), 9, 41)
        );
        let call = lab.exchange(&request, 200, &answered(r#"{"to": "bob"}"#, 9, 41));
        assert_eq!(call.refused(), Some(502));
    }
}

#[test]
fn a_stream_that_is_held_for_its_verdict_is_guarded_first() {
    let schema = json!({"type": "object", "required": ["to"], "properties": {"to": {"type": "string"}}});
    let validate =
        json!({"validate": [{"name": "held", "schema": schema, "buffer": true, "on_invalid": ["reject"]}]});
    let words = format!("mail {MAIL}");
    let [request, ..] = requests(&words, true);
    let events = [r#"{"to": "[EM"#, r#"AIL_1]"}"#].map(|piece| delta(piece, None));
    let stream = [&*events.concat(), &delta("", Some("stop")), &usage(9, 41), DONE].concat();
    for at in [1, 100, 200, 250] {
        let mut lab = Lab::new(with(guard("restore"), validate.clone()));
        let call = streamed(&mut lab, &request, &[&stream[..at], &stream[at..]]);
        assert_eq!(heard(&call.answer_text()).0, format!(r#"{{"to": "{MAIL}"}}"#));
        let mut lab = Lab::new(with(guard("block"), validate.clone()));
        let bad = [
            &*delta(r#"{"to": "a"#, None),
            &delta("nn.lee@example.com\"}", None),
            DONE,
        ]
        .concat();
        let call = streamed(
            &mut lab,
            &chat(json!({"stream": true})),
            &[&bad[..at], &bad[at..]],
        );
        let got = call.answer_text();
        assert!(
            got.contains("\"error\"") && !got.contains("lee") && call.reply.is_none(),
            "{got}"
        );
    }
}

#[test]
fn a_conversation_that_its_provider_keeps_has_other_placeholders() {
    let body = json!({"model": "gpt-4o", "input": MAIL, "previous_response_id": "r0"});
    let request = Request::post("/v1/responses", body.to_string());
    let mut lab = Lab::new(guard("restore"));
    let answer = &whole("I wrote to [EMAIL_1].", &json!({}))[1];
    let call = lab.exchange(&request, 200, answer);
    assert!(sent(&call).contains("[EMAIL_1]"));
    assert_eq!(call.answer_text(), *answer);
}

/// As [`Lab::new`], failing over by callouts.
fn calling(changes: Value) -> Lab {
    let document = json!({
        "failover": {"via": "callout", "backoff": {"base": "1s", "max": "1s"}},
        "models": {"gpt-4o": {"chain": ["openai/gpt-4o", "backup/gpt-4o", "anthropic/claude"]}},
    });
    Lab::new(with(document, changes))
}

fn came(kind: &str, status: &str, body: &str) -> CallAnswer {
    CallAnswer {
        headers: [(":status", status), ("content-type", kind)]
            .into_iter()
            .collect(),
        body: body.into(),
        unsent: false,
    }
}

#[test]
fn whoever_is_asked_next_sees_placeholders_and_the_client_its_own_words() {
    for stream in [false, true] {
        let mut lab = calling(guard("restore"));
        let request = requests(&format!("mail {MAIL}"), stream)[0].clone();
        let mut call = lab.send(&request);
        call.respond(&mut lab, 503, &[("content-type", "application/json")], false);
        let second = call.call.take().unwrap();
        assert_eq!(second.cluster, "backup");
        call.called(&mut lab, came("application/json", "500", "{}"));
        let third = call.call.take().unwrap();
        assert_eq!(third.cluster, "anthropic");
        for asked in [second, third] {
            let body = String::from_utf8(asked.body).unwrap();
            assert!(body.contains("mail [EMAIL_1]") && !body.contains("ann"), "{body}");
        }
        let answer = if stream {
            came(
                "text/event-stream",
                "200",
                &message_stream(&["To [EM", "AIL_1]."], &[r#"{"to":"[EMAIL_1]"}"#]),
            )
        } else {
            came(
                "application/json",
                "200",
                &whole("To [EMAIL_1].", &json!({"to": "[EMAIL_1]"}))[2],
            )
        };
        call.called(&mut lab, answer);
        assert_eq!(call.refused(), Some(200));
        let got = String::from_utf8(call.reply.as_ref().unwrap().body.clone()).unwrap();
        assert!(!got.contains("EMAIL"), "{got}");
        if stream {
            assert_eq!(
                heard(&got),
                (format!("To {MAIL}."), format!(r#"{{"to":"{MAIL}"}}"#)),
                "{got}"
            );
        } else {
            assert!(got.contains(&format!("To {MAIL}.")), "{got}");
        }
    }
}

#[test]
fn what_came_back_to_the_client_never_goes_out_again() {
    let mut lab = calling(guard("restore"));
    let mut call = lab.send(&requests(&format!("mail {MAIL} about {CARD}"), false)[0]);
    let Exchange::Admitted(state) = &mut call.exchange else {
        panic!()
    };
    let watching = state.watching.as_mut().unwrap();
    let again = format!(r#"{{"messages":[{{"content":"mail [EMAIL_1] {CARD} {MAIL} b@c.de"}}]}}"#);
    let sent = watching.once_more(again.into_bytes()).unwrap();
    let expected = r#"{"messages":[{"content":"mail [EMAIL_1] [CARD_1] [EMAIL_1] [EMAIL_2]"}]}"#;
    assert_eq!(String::from_utf8(sent).unwrap(), expected);
    call.respond(&mut lab, 503, &[("content-type", "application/json")], false);
    let record = call.end(&mut lab, Ending::ClientAbort);
    assert_eq!(
        record["guards"][0]["found"], 1,
        "what is sent once more isn't counted again"
    );
}

#[test]
fn a_provider_that_is_told_what_was_wrong_sees_its_own_words() {
    let schema = json!({"type": "object", "required": ["to", "id"]});
    let validate = json!({"validate": [{"name": "order", "schema": schema, "on_invalid": [{"retry": 1}]}]});
    let mut lab = Lab::new(with(guard("restore"), validate));
    let mut call = lab.send(&requests(&format!("mail {MAIL}"), false)[0]);
    call.answer(&mut lab, 200, &answered(r#"{"to": "[EMAIL_1]"}"#, 9, 41));
    let asked = String::from_utf8(call.call.take().unwrap().body).unwrap();
    assert!(
        asked.contains(r#"{\"to\": \"[EMAIL_1]\"}"#) && !asked.contains("ann"),
        "{asked}"
    );
    let second = answered(r#"{"to": "[EMAIL_1]", "id": 1}"#, 9, 41);
    call.called(&mut lab, came("application/json", "200", &second));
    let got = String::from_utf8(call.reply.as_ref().unwrap().body.clone()).unwrap();
    assert!(got.contains(MAIL) && !got.contains("EMAIL"), "{got}");
}

#[test]
fn an_answer_to_a_call_is_guarded_as_well() {
    for (stream, status) in [(false, 502), (true, 200)] {
        let mut lab = calling(json!({"guards": [{"kinds": ["email"], "on": ["answer"], "action": "block"}]}));
        let mut call = lab.send(&requests("hi", stream)[0]);
        call.respond(&mut lab, 503, &[("content-type", "application/json")], false);
        let answer = if stream {
            came(
                "text/event-stream",
                "200",
                &chat_stream(&["To ann.lee@", "example.com."], &["{}"]),
            )
        } else {
            came("application/json", "200", &answered(MAIL, 9, 41))
        };
        call.called(&mut lab, answer);
        assert_eq!(call.refused(), Some(status));
        let got = String::from_utf8(call.reply.as_ref().unwrap().body.clone()).unwrap();
        assert!(got.contains("\"error\"") && !got.contains("ann"), "{got}");
        assert_eq!(lab.used("acme"), 50);
    }
}

#[test]
fn a_stream_that_is_listened_to_can_be_stopped_at_once() {
    let mut lab = calling(guard("block"));
    let mut call = lab.send(&requests("hi", true)[0]);
    let stream = chat_stream(&["ann.lee@example.com is", " she"], &["{}"]);
    let call_stream = |call: &mut Call, lab: &mut Lab| {
        call.stream(lab, &[&stream[..200], &stream[200..]]);
        call.chunk(lab, "", true);
    };
    call_stream(&mut call, &mut lab);
    let got = call.answer_text();
    assert!(
        got.contains("\"error\"") && !got.contains("ann") && call.call.is_none(),
        "{got}"
    );
    assert_eq!(lab.used("acme"), 50);
}

#[test]
fn what_a_client_didn_t_ask_for_goes_out_at_no_stop_either() {
    let schema = json!({"type": "object", "required": ["id"]});
    let judged = json!({"validate": [{"name": "held", "schema": schema, "on_invalid": ["reject"]}]});
    let begun = [delta("{\"id\":", None), delta("", Some("stop"))].concat();
    let mail = delta(&format!("{MAIL} "), None);
    let cases = [
        // Held while it is listened to.
        (calling(guard("block")), usage(9, 1), mail.clone()),
        // Held with the end that is kept back.
        (Lab::new(with(guard("block"), judged)), begun, usage(9, 1) + &mail),
    ];
    for (mut lab, first, second) in cases {
        let mut call = lab.send(&requests("hi", true)[0]);
        call.stream(&mut lab, &[&first, &second]);
        let got = call.answer_text();
        assert!(got.contains("\"error\"") && !got.contains("ann"), "{got}");
        assert!(!got.contains("usage") && !got.contains("stop\""), "{got}");
    }
}

#[test]
fn the_hosts_router_is_given_the_masked_body() {
    let document = json!({"failover": {"via": "native"}});
    let mut lab = Lab::new(with(document, guard("mask")));
    let call = lab.send(&requests(&format!("mail {MAIL}"), false)[0]);
    let sent = sent(&call);
    assert!(sent.contains("mail [EMAIL_1]") && !sent.contains("ann"), "{sent}");
    assert_eq!(call.header("content-length"), Some(sent.len().to_string()));
}

#[test]
fn an_answer_that_ends_in_trailers_is_guarded_too() {
    let mut lab = Lab::new(guard("mask"));
    let mut call = lab.send(&chat(json!({})));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, &answered(MAIL, 9, 41), false);
    call.trailers(&mut lab);
    assert_eq!(
        (call.refused(), call.answer_text()),
        (None, answered("[EMAIL_1]", 9, 41))
    );
    assert_eq!(lab.used("acme"), 50);
}

#[test]
fn several_choices_are_texts_of_their_own() {
    let chunk = |index: u32, words: &str, reason: Value| {
        let chunk = json!({"id": "c", "choices": [{"index": index, "delta": {"content": words}, "finish_reason": reason}]});
        format!("data: {chunk}\n\n")
    };
    let stream = [
        chunk(0, "a ann.lee@", Value::Null),
        chunk(1, "b 4242 4242 ", Value::Null),
        chunk(0, "example.com", Value::Null),
        chunk(1, "4242 4242", json!("stop")),
        chunk(0, "", json!("stop")),
        DONE.to_owned(),
    ];
    let mut lab = Lab::new(guard("mask"));
    let got = streamed(
        &mut lab,
        &chat(json!({"stream": true, "n": 2})),
        &[&stream.concat()],
    )
    .answer_text();
    let of = |index: u64| -> String {
        let data = got.lines().filter_map(|line| line.strip_prefix("data: "));
        let chunks = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let mine = chunks.filter(|chunk| chunk["choices"][0]["index"] == index);
        mine.filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
            .collect()
    };
    assert_eq!(
        (of(0).as_str(), of(1).as_str()),
        ("a [EMAIL_1]", "b [CARD_1]"),
        "{got}"
    );
}

#[test]
fn an_event_that_is_no_json_is_a_text_and_one_that_is_too_deep_ends_the_stream() {
    let mut lab = Lab::new(guard("mask"));
    let stream = format!("data: ping {MAIL}\n\n{DONE}");
    let call = streamed(&mut lab, &chat(json!({"stream": true})), &[&stream]);
    assert!(
        call.answer_text().starts_with("data: ping [EMAIL_1]\n\n"),
        "{}",
        call.answer_text()
    );
    let deep = format!(
        "data: {}{}\n\n{}",
        "[".repeat(10_000),
        "]".repeat(10_000),
        delta(MAIL, None)
    );
    let call = streamed(&mut lab, &chat(json!({"stream": true})), &[&deep]);
    let got = call.answer_text();
    assert!(
        got.starts_with("data: {\"error\"") && !got.contains("ann"),
        "{got}"
    );
}
