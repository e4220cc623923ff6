//! Answers that an application can trust: every source of a verdict and every rung that asks nobody, in each protocol,
//! whole and streamed.

use serde_json::{Value, json};

use super::{Call, DONE, Lab, Request, answered, chat, delta, message, usage};

const VERDICT: &str = "x-spillway-validation";

fn order() -> Value {
    json!({"type": "object", "required": ["id"], "additionalProperties": false,
        "properties": {"id": {"type": "integer"}, "discount": {"type": "number", "maximum": 50}}})
}

fn policy(validation: Value) -> Value {
    let mut one = json!({"name": "order"});
    super::merge(&mut one, validation);
    json!({"validate": [one]})
}

/// A policy that judges by what requests say themselves.
fn own(on_invalid: Value) -> Value {
    policy(json!({"on_invalid": on_invalid}))
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "book", "parameters": order()}},
        {"type": "function", "function": {"name": "any"}}])
}

/// One protocol: how a request asks for the schema, and how the answer says a text.
struct Protocol {
    name: &'static str,
    ask: fn(Value) -> Request,
    whole: fn(&str) -> String,
    stream: fn(&str) -> Vec<String>,
}

const PROTOCOLS: [Protocol; 3] = [
    Protocol {
        name: "chat",
        ask: |more| {
            let format = json!({"type": "json_schema", "json_schema": {"name": "o", "schema": order()}});
            let mut body = json!({"response_format": format});
            super::merge(&mut body, more);
            chat(body)
        },
        whole: |text| answered(text, 9, 41),
        stream: |text| {
            let (a, b) = text.split_at(text.len() / 2);
            vec![
                delta(a, None),
                delta(b, None),
                delta("", Some("stop")),
                usage(9, 41),
                DONE.to_owned(),
            ]
        },
    },
    Protocol {
        name: "responses",
        ask: |more| {
            let format = json!({"type": "json_schema", "name": "o", "schema": order()});
            let mut body =
                json!({"model": "gpt-4o", "store": false, "input": "hello", "text": {"format": format}});
            super::merge(&mut body, more);
            Request::post("/v1/responses", body.to_string())
        },
        whole: |text| response(text).to_string(),
        stream: |text| {
            let (a, b) = text.split_at(text.len() / 2);
            let event =
                |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap());
            let kind = |kind: &str| format!("response.{kind}");
            vec![
                event(json!({"type": kind("created"), "response": {"model": "gpt-4o"}})),
                event(
                    json!({"type": kind("output_text.delta"), "output_index": 0, "content_index": 0, "delta": a}),
                ),
                event(
                    json!({"type": kind("output_text.delta"), "output_index": 0, "content_index": 0, "delta": b}),
                ),
                event(
                    json!({"type": kind("output_text.done"), "output_index": 0, "content_index": 0, "text": text}),
                ),
                event(json!({"type": kind("completed"), "response": response(text)})),
            ]
        },
    },
    Protocol {
        name: "messages",
        ask: |more| {
            let format = json!({"type": "json_schema", "schema": order()});
            let mut body = json!({"output_config": {"format": format}});
            super::merge(&mut body, more);
            message(body)
        },
        whole: |text| {
            json!({"type": "message", "model": "claude", "content": [{"type": "text", "text": text}],
                "stop_reason": "end_turn", "usage": {"input_tokens": 9, "output_tokens": 41}})
            .to_string()
        },
        stream: |text| {
            let (a, b) = text.split_at(text.len() / 2);
            let event =
                |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap());
            let piece = |text: &str| {
                event(
                    json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
                )
            };
            vec![
                event(json!({"type": "message_start", "message": {"model": "claude",
                    "usage": {"input_tokens": 9, "output_tokens": 1}}})),
                event(json!({"type": "content_block_start", "index": 0,
                    "content_block": {"type": "text", "text": ""}})),
                piece(a),
                piece(b),
                event(json!({"type": "content_block_stop", "index": 0})),
                event(
                    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 41}}),
                ),
                event(json!({"type": "message_stop"})),
            ]
        },
    },
];

fn response(text: &str) -> Value {
    json!({"object": "response", "model": "gpt-4o", "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": text, "annotations": []}]}],
        "usage": {"input_tokens": 9, "output_tokens": 41}})
}

/// What the client got: its status, the verdict's header, and the text with all that is around it.
fn got(call: &Call) -> (u16, Option<String>, String) {
    match &call.reply {
        Some(reply) => (
            reply.status,
            call.reply_header(VERDICT),
            String::from_utf8(reply.body.clone()).unwrap(),
        ),
        None => (200, call.answer_header(VERDICT), call.answer_text()),
    }
}

fn streamed(lab: &mut Lab, request: &Request, events: &[String]) -> Call {
    let mut call = lab.send(request);
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    call.stream(lab, &events);
    call.chunk(lab, "", true);
    call
}

const GOOD: &str = r#"{"id":1}"#;
const FENCED: &str = "```json\n{\"id\":1}\n```";
const BAD: &str = r#"{"id":"private"}"#;

#[test]
fn the_request_s_own_schema_judges_a_whole_answer() {
    for protocol in PROTOCOLS {
        let request = (protocol.ask)(json!({}));
        let body = |text| (protocol.whole)(text);
        let mut lab = Lab::new(own(json!(["repair", "reject"])));
        let call = lab.exchange(&request, 200, &body(GOOD));
        assert_eq!(
            got(&call),
            (200, Some("valid".into()), body(GOOD)),
            "{}",
            protocol.name
        );

        let call = lab.exchange(&request, 200, &body(FENCED));
        assert_eq!(
            got(&call),
            (200, Some("repaired".into()), body(GOOD)),
            "{}",
            protocol.name
        );
        assert_eq!(call.record(&mut lab)["mended"], "fence");

        let call = lab.exchange(&request, 200, &body(BAD));
        let (status, verdict, told) = got(&call);
        assert_eq!((status, verdict.as_deref()), (502, Some("invalid")));
        assert!(told.contains("/id (type)") && !told.contains("private"), "{told}");
        for verdict in ["valid", "repaired", "invalid"] {
            let name = format!("spillway.schema.rule=order.verdict={verdict}");
            assert_eq!(lab.metric(&name), 1, "{name}");
        }
        assert_eq!(lab.metric("spillway.repair.type=fence"), 1);

        let mut lab = Lab::new(own(json!([{"default": {"id": 0}}])));
        let call = lab.exchange(&request, 200, &body(BAD));
        assert_eq!(got(&call), (200, Some("invalid".into()), body(r#"{"id":0}"#)));
        assert_eq!(call.record(&mut lab)["validation"], "defaulted");
        // A default that the request's own schema refuses stands in for nothing.
        let mut lab = Lab::new(own(json!([{"default": []}])));
        let call = lab.exchange(&request, 200, &body(BAD));
        assert_eq!((got(&call).0, got(&call).1.as_deref()), (502, Some("invalid")));

        let mut lab = Lab::new(own(json!(["repair", "annotate"])));
        let call = lab.exchange(&request, 200, &body(BAD));
        assert_eq!(got(&call), (200, Some("invalid".into()), body(BAD)));
    }
}

#[test]
fn a_passing_stream_ends_in_an_error_when_it_is_invalid() {
    for protocol in PROTOCOLS {
        let request = (protocol.ask)(json!({"stream": true}));
        let mut lab = Lab::new(own(json!(["repair", "reject"])));
        let events = (protocol.stream)(GOOD);
        let call = streamed(&mut lab, &request, &events);
        // The usage chunk that the client didn't ask for is taken out.
        let kept: Vec<String> = events
            .into_iter()
            .filter(|e| !e.contains("\"choices\":[]"))
            .collect();
        assert_eq!(got(&call), (200, None, kept.concat()), "{}", protocol.name);
        let call = streamed(&mut lab, &request, &(protocol.stream)(FENCED));
        let (_, _, told) = got(&call);
        assert!(
            told.contains("it isn't JSON") && !told.contains("[DONE]"),
            "{told}"
        );
        assert_eq!(call.record(&mut lab)["validation"], "not_json");
        assert_eq!(lab.used("acme"), 100);
    }
}

#[test]
fn a_buffered_stream_comes_valid_or_as_an_error() {
    let buffered = |on_invalid: Value| policy(json!({"buffer": true, "on_invalid": on_invalid}));
    for protocol in PROTOCOLS {
        let request = (protocol.ask)(json!({"stream": true}));
        let plain = |text: &str| -> String {
            let events = (protocol.stream)(text).into_iter();
            events.filter(|e| !e.contains("\"choices\":[]")).collect()
        };
        let mut lab = Lab::new(buffered(json!(["repair", "reject"])));
        let mut call = lab.send(&request);
        let events = (protocol.stream)(GOOD);
        call.stream(&mut lab, &events.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(call.answer_text(), "", "{}", protocol.name);
        call.chunk(&mut lab, "", true);
        assert_eq!(
            got(&call),
            (200, Some("valid".into()), plain(GOOD)),
            "{}",
            protocol.name
        );

        let call = streamed(&mut lab, &request, &(protocol.stream)(FENCED));
        let (status, verdict, told) = got(&call);
        assert_eq!((status, verdict.as_deref()), (200, Some("repaired")), "{told}");
        assert!(!told.contains("```") && told.contains(r#"{\"id\":1}"#), "{told}");

        let call = streamed(&mut lab, &request, &(protocol.stream)(BAD));
        let (status, verdict, told) = got(&call);
        assert_eq!((status, verdict.as_deref()), (502, Some("invalid")));
        assert!(told.contains("/id (type)") && !told.contains("private"), "{told}");
        assert_eq!(lab.used("acme"), 150);

        let mut lab = Lab::new(buffered(json!([{"default": {"id": 0}}])));
        let call = streamed(&mut lab, &request, &(protocol.stream)(BAD));
        let (status, verdict, told) = got(&call);
        assert_eq!((status, verdict.as_deref()), (200, Some("invalid")), "{told}");
        assert!(
            !told.contains("private") && told.contains(r#"{\"id\":0}"#),
            "{told}"
        );
    }
    // Where headers can't be held, an error is an event.
    let mut lab = Lab::headers_first(buffered(json!(["reject"])));
    let request = chat(json!({"stream": true, "response_format": {"type": "json_object"}}));
    let call = streamed(
        &mut lab,
        &request.with("x-model", "gpt-4o"),
        &[delta("[]", None), delta("", Some("stop"))],
    );
    assert!(
        call.answer_text().starts_with("data: {\"error\""),
        "{}",
        call.answer_text()
    );
}

#[test]
fn a_buffered_stream_over_the_bound_passes_unchecked() {
    let mut changes = policy(json!({"buffer": true}));
    changes["bounds"] = json!({"response_body": "1KiB"});
    let mut lab = Lab::new(changes);
    let request = (PROTOCOLS[0].ask)(json!({"stream": true}));
    let events = (PROTOCOLS[0].stream)(&"x".repeat(3_000));
    let call = streamed(&mut lab, &request, &events);
    let kept: Vec<String> = events
        .into_iter()
        .filter(|e| !e.contains("\"choices\":[]"))
        .collect();
    assert_eq!(call.answer_text(), kept.concat());
    assert_eq!(call.record(&mut lab)["validation"], "unchecked");
}

/// A whole chat answer that calls tools.
fn calling(calls: &[(&str, &str)]) -> String {
    let calls: Vec<Value> = calls
        .iter()
        .map(|(name, arguments)| {
            json!({"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}})
        })
        .collect();
    json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": null, "tool_calls": calls},
        "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 9, "completion_tokens": 41}})
    .to_string()
}

#[test]
fn arguments_must_be_what_the_request_declares() {
    let mut lab = Lab::new(own(json!(["repair", "reject"])));
    let request = chat(json!({"tools": tools()}));
    let table = [
        (vec![("book", GOOD), ("any", "{\"x\":2}")], "valid", None),
        (vec![("any", "[]")], "valid", None),
        (vec![("book", BAD)], "invalid", Some("/tool_calls/0/id (type)")),
        (
            vec![("book", GOOD), ("cook", GOOD)],
            "invalid",
            Some("/tool_calls/1/name (enum)"),
        ),
        (
            vec![("book", "who knows")],
            "invalid",
            Some("/tool_calls/0 (json)"),
        ),
    ];
    for (calls, verdict, told) in table {
        let call = lab.exchange(&request, 200, &calling(&calls));
        let (status, said, body) = got(&call);
        assert_eq!(said.as_deref(), Some(verdict), "{calls:?}");
        assert_eq!(status, if told.is_some() { 502 } else { 200 });
        assert!(told.is_none_or(|told| body.contains(told)), "{body}");
        assert!(!body.contains("private") && !body.contains("cook\" ("), "{body}");
    }
    let broken = calling(&[("book", GOOD), ("book", "{'id': 2,}")]);
    let call = lab.exchange(&request, 200, &broken);
    let fixed = calling(&[("book", GOOD), ("book", "{\"id\":2}")]);
    assert_eq!(got(&call), (200, Some("repaired".into()), fixed));
    // A text where tools may be called but needn't: nothing is judged.
    let call = lab.exchange(&request, 200, &answered("Which day?", 1, 1));
    assert_eq!(got(&call).1, None);
    // And where the policy doesn't want it, neither are calls.
    let mut lab = Lab::new(policy(json!({"tools": false, "schema": order()})));
    let call = lab.exchange(&request, 200, &calling(&[("book", BAD)]));
    assert_eq!(got(&call).1.as_deref(), Some("tool_calls"));
}

#[test]
fn where_the_policy_leaves_the_form_alone_its_rules_still_hold() {
    let rules = json!([{"name": "some", "rule": "answer.id > 0"}]);
    let mut lab = Lab::new(policy(json!({"format": false, "tools": false, "rules": rules})));
    for protocol in PROTOCOLS {
        let request = (protocol.ask)(json!({}));
        let table = [
            (r#"{"id":7,"undeclared":1}"#, 200, "valid"),
            (r#"{"id":0}"#, 502, "invalid"),
            ("seven", 502, "not_json"),
        ];
        for (text, status, verdict) in table {
            let call = lab.exchange(&request, 200, &(protocol.whole)(text));
            let (got, said, body) = got(&call);
            assert_eq!(
                (got, said.as_deref()),
                (status, Some(verdict)),
                "{}: {body}",
                protocol.name
            );
        }
    }
    let mut lab = Lab::new(policy(json!({"format": false, "tools": true})));
    let call = lab.exchange(&(PROTOCOLS[0].ask)(json!({})), 200, &answered("seven", 1, 1));
    assert_eq!(got(&call).1, None);
}

#[test]
fn arguments_in_streams_are_judged_and_mended_too() {
    let piece = |index: u64, function: Value| {
        let delta = json!({"tool_calls": [{"index": index, "function": function}]});
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}))
    };
    let events = |arguments: &str| {
        let (a, b) = arguments.split_at(arguments.len() / 2);
        vec![
            piece(0, json!({"name": "book", "arguments": ""})),
            piece(0, json!({"arguments": a})),
            piece(0, json!({"arguments": b})),
            delta("", Some("tool_calls")),
            DONE.to_owned(),
        ]
    };
    let request = chat(json!({"stream": true, "tools": tools()}));
    let mut lab = Lab::new(own(json!(["reject"])));
    let call = streamed(&mut lab, &request, &events(BAD));
    assert!(
        got(&call).2.contains("/tool_calls/0/id (type)"),
        "{}",
        got(&call).2
    );
    assert_eq!(call.record(&mut lab)["validation"], "invalid");
    let call = streamed(&mut lab, &request, &events(GOOD));
    assert_eq!(got(&call).2, events(GOOD).concat());

    let mut lab = Lab::new(policy(json!({"buffer": true, "on_invalid": ["repair"]})));
    let call = streamed(&mut lab, &request, &events("{'id': 1,}"));
    let (_, verdict, told) = got(&call);
    assert_eq!(verdict.as_deref(), Some("repaired"));
    assert!(
        told.contains(r#""arguments":"{\"id\":1}""#) && !told.contains("'id'"),
        "{told}"
    );
}

#[test]
fn a_forced_tool_is_the_answer() {
    let request = message(json!({"tools": [{"name": "book", "input_schema": order()}],
        "tool_choice": {"type": "tool", "name": "book"}}));
    let body = |content: Value| {
        json!({"type": "message", "content": [content], "stop_reason": "tool_use",
            "usage": {"input_tokens": 9, "output_tokens": 41}})
        .to_string()
    };
    let input = |input: Value| body(json!({"type": "tool_use", "id": "t", "name": "book", "input": input}));
    let rules = json!([{"name": "discount", "rule": "!has(answer.discount) || answer.discount <= 20",
        "otherwise": {"clamp": "/discount", "to": 20}}]);
    let mut lab = Lab::new(policy(
        json!({"rules": rules, "on_invalid": [{"default": {"id": 0}}]}),
    ));
    let table = [
        (input(json!({"id": 1})), input(json!({"id": 1})), "valid"),
        (
            input(json!({"id": 1, "discount": 30})),
            input(json!({"id": 1, "discount": 20})),
            "repaired",
        ),
        (input(json!({"id": "x"})), input(json!({"id": 0})), "invalid"),
    ];
    for (answer, expected, verdict) in table {
        let call = lab.exchange(&request, 200, &answer);
        assert_eq!(got(&call), (200, Some(verdict.to_owned()), expected));
    }
    let text = body(json!({"type": "text", "text": "I'd rather not."}));
    let call = lab.exchange(&request, 200, &text.replace("tool_use", "end_turn"));
    let (status, verdict, told) = got(&call);
    assert_eq!((status, verdict.as_deref()), (200, Some("invalid")), "{told}");
}

#[test]
fn rules_clamp_reject_and_annotate() {
    let validation = |otherwise: Value, on_invalid: Value| {
        policy(json!({"schema": order(), "on_invalid": on_invalid,
            "rules": [{"name": "discount", "rule": "answer.discount <= 20", "otherwise": otherwise}]}))
    };
    let over = answered(r#"{"id": 1, "discount": 30}"#, 9, 41);
    let clamp = json!({"clamp": "/discount", "to": 20});
    let mut lab = Lab::new(validation(clamp.clone(), json!(["reject"])));
    let call = lab.exchange(&chat(json!({})), 200, &over);
    let clamped = answered(r#"{"id": 1, "discount": 20}"#, 9, 41);
    assert_eq!(got(&call), (200, Some("repaired".into()), clamped));
    assert_eq!(lab.metric("spillway.rule.rule=order-discount.verdict=clamped"), 1);
    // What isn't there can't be put back.
    let call = lab.exchange(&chat(json!({})), 200, &answered(GOOD, 9, 41));
    assert_eq!(got(&call).0, 502);
    // A clamp that the schema or the rule refuses is none.
    for to in [json!("much"), json!(60), json!(21)] {
        let mut lab = Lab::new(validation(
            json!({"clamp": "/discount", "to": to}),
            json!(["reject"]),
        ));
        let call = lab.exchange(&chat(json!({})), 200, &over);
        assert_eq!(got(&call).0, 502, "{to}");
        assert!(
            got(&call).2.contains(r#"breaks rules of \"order\": discount"#),
            "{}",
            got(&call).2
        );
    }
    let mut lab = Lab::new(validation(json!("annotate"), json!(["reject"])));
    let call = lab.exchange(&chat(json!({})), 200, &over);
    assert_eq!(got(&call), (200, Some("invalid".into()), over.clone()));
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["rules_broken"], &record["validation"]),
        (&json!(["discount"]), &json!("invalid"))
    );
    let mut lab = Lab::new(validation(
        json!("reject"),
        json!(["repair", {"default": {"id": 0}}]),
    ));
    let call = lab.exchange(&chat(json!({})), 200, &over);
    assert_eq!(got(&call).2, answered(r#"{"id":0}"#, 9, 41));
    // A stream that passes can't be put back to its bound: it ends in an error.
    let mut lab = Lab::new(validation(clamp, json!(["reject"])));
    let events = [
        delta(r#"{"id": 1, "discount": 30}"#, None),
        delta("", Some("stop")),
        DONE.to_owned(),
    ];
    let call = streamed(&mut lab, &chat(json!({"stream": true})), &events);
    assert!(got(&call).2.contains("breaks rules"), "{}", got(&call).2);
}

#[test]
fn claims_must_stand_in_what_the_request_carried() {
    let validation = |otherwise: &str| {
        policy(json!({"grounding": {"fields": ["/who"], "at_least": 1, "otherwise": otherwise}}))
    };
    let request = chat(json!({"messages": [{"role": "user", "content": "Ada  Lovelace wrote it."}]}));
    let mut lab = Lab::new(validation("reject"));
    let call = lab.exchange(&request, 200, &answered(r#"{"who": "Ada Lovelace"}"#, 9, 41));
    assert_eq!(got(&call).1.as_deref(), Some("valid"));
    let call = lab.exchange(&request, 200, &answered(r#"{"who": "Bob"}"#, 9, 41));
    let (status, verdict, told) = got(&call);
    assert_eq!((status, verdict.as_deref()), (502, Some("invalid")));
    assert!(told.contains("0 of 1 claims") && !told.contains("Bob"), "{told}");
    assert_eq!(
        call.record(&mut lab)["grounded"],
        json!({"claims": 1, "found": 0, "ratio": 0.0})
    );
    assert_eq!(lab.metric("spillway.grounding.rule=order.verdict=found"), 1);
    assert_eq!(lab.metric("spillway.grounding.rule=order.verdict=missing"), 1);
    let mut lab = Lab::new(validation("annotate"));
    let body = answered(r#"{"who": "Bob"}"#, 9, 41);
    let call = lab.exchange(&request, 200, &body);
    assert_eq!(got(&call), (200, Some("invalid".into()), body));
}

#[test]
fn in_shadow_all_is_decided_and_nothing_done() {
    let mut changes = own(json!(["repair", "reject"]));
    changes["mode"] = json!("shadow");
    let mut lab = Lab::new(changes);
    for (text, verdict) in [(FENCED, "repaired"), (BAD, "invalid"), (GOOD, "valid")] {
        let body = answered(text, 9, 41);
        let call = lab.exchange(&(PROTOCOLS[0].ask)(json!({})), 200, &body);
        assert_eq!(got(&call), (200, None, body));
        assert_eq!(
            lab.metric(&format!("spillway.schema.rule=order.verdict={verdict}")),
            1
        );
    }
    let request = (PROTOCOLS[0].ask)(json!({"stream": true}));
    let call = streamed(&mut lab, &request, &(PROTOCOLS[0].stream)(BAD));
    assert!(call.answer_text().ends_with(DONE));
}

#[test]
fn a_request_that_asks_for_nothing_is_not_judged() {
    let mut lab = Lab::new(own(json!(["reject"])));
    let call = lab.exchange(&chat(json!({})), 200, &answered("words", 9, 41));
    assert_eq!(got(&call), (200, None, answered("words", 9, 41)));
    assert_eq!(
        lab.effects
            .metrics
            .iter()
            .filter(|(m, _)| m.name(&lab.gateway.policy).contains("schema"))
            .count(),
        0
    );
}

#[test]
fn a_schema_that_cannot_be_used_judges_nothing() {
    let tool = |schema: Value| {
        chat(json!({"tools": [{"type": "function", "function": {"name": "book", "parameters": schema}}]}))
    };
    let mut deep = json!({});
    for _ in 0..50 {
        deep = json!({"properties": {"a": deep}});
    }
    let over = json!({"enum": vec!["x".repeat(100); 2_000]});
    for schema in [
        json!({"$ref": "https://x.test/"}),
        json!({"pattern": "(a)\\1"}),
        deep,
        over,
    ] {
        let mut changes = own(json!(["reject"]));
        changes["limits"] = json!([]);
        let mut lab = Lab::new(changes);
        let call = lab.exchange(&tool(schema.clone()), 200, &calling(&[("book", "{}")]));
        assert_eq!(
            got(&call).1.as_deref(),
            Some("unchecked"),
            "{:.80}",
            schema.to_string()
        );
        let format = json!({"type": "json_schema", "json_schema": {"name": "o", "schema": schema}});
        let call = lab.exchange(
            &chat(json!({"response_format": format})),
            200,
            &answered("{}", 1, 1),
        );
        assert_eq!(got(&call).1.as_deref(), Some("unchecked"));
    }
}

#[test]
fn many_tools_are_remembered_within_bounds() {
    let tool = |n: usize| {
        json!({"type": "function", "function": {"name": format!("f{n}"),
            "parameters": {"required": ["id"], "title": "x".repeat(1_000)}}})
    };
    let tools: Vec<Value> = (0..2_000).map(tool).collect();
    let mut changes = own(json!(["reject"]));
    changes["limits"] = json!([]);
    let models = json!({"gpt-4o": {"context": 100_000_000}});
    changes["providers"] = json!({"openai": {"models": models}});
    let mut lab = Lab::new(changes);
    let request = chat(json!({"tools": tools}));
    let mut call = lab.send(&request);
    let kept = call.exchange.weight().kept;
    assert!((500_000..600_000).contains(&kept), "{kept}");
    call.answer(&mut lab, 200, &calling(&[("f1", "{}")]));
    assert_eq!((got(&call).0, got(&call).1.as_deref()), (502, Some("invalid")));
    for name in ["f900", "f1500", "g"] {
        let call = lab.exchange(&request, 200, &calling(&[(name, "{}")]));
        assert_eq!(got(&call).1.as_deref(), Some("unchecked"), "{name}");
    }
    // What has no room isn't kept at all.
    lab.load.kept = 64 << 20;
    let mut call = lab.send(&request);
    assert!(call.exchange.weight().kept < 20_000);
    call.answer(&mut lab, 200, &calling(&[("f1", "{}")]));
    assert_eq!(got(&call).1.as_deref(), Some("unchecked"));
}

#[test]
fn an_answer_is_mended_at_its_trailers_too() {
    let mut lab = Lab::new(own(json!(["repair"])));
    let mut call = lab.send(&(PROTOCOLS[0].ask)(json!({})));
    call.respond(&mut lab, 200, &[("content-type", "application/json")], false);
    call.chunk(&mut lab, &answered(FENCED, 9, 41), false);
    call.trailers(&mut lab);
    assert_eq!(
        (call.refused(), call.answer_text()),
        (None, answered(GOOD, 9, 41))
    );
}
