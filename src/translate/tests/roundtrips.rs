//! There and back again: what random conversations, answers and streams mean survives both translations.

use serde_json::{Map, Value, json};

use super::super::Protocol::{Chat, Messages};
use super::super::{Accepts, RequestOptions, answer, request};
use super::{ANSWER, REQUEST, parsed, streamed};

/// Xorshift: the same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn sometimes<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }

    fn some<T>(&mut self, least: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..least + self.below(3)).map(|_| make(self)).collect()
    }

    fn text(&mut self) -> String {
        let words = [
            "Hello",
            "Zoë 😀",
            "\"quoted\"",
            "a\nb",
            "{\"x\":1}",
            "\u{7f}\u{1}",
            "\\",
            "日本",
            "tab\t.",
        ];
        self.some(1, |r| words[r.below(words.len())]).join(" ")
    }

    fn arguments(&mut self) -> Value {
        let (name, value) = (self.text(), self.text());
        json!({name: value, "n": self.below(1000), "deep": [{"a": null}, true, 1.5]})
    }

    fn user_parts(&mut self) -> Value {
        if self.below(2) == 0 {
            return json!(self.text());
        }
        let parts = self.some(1, |r| match r.below(3) {
            0 => json!({"type": "text", "text": r.text()}),
            1 => json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
            _ => json!({"type": "image_url", "image_url": {"url": "data:image/webp;base64,UklGRg=="}}),
        });
        json!(parts)
    }

    /// An assistant's message, and the answers of the tools that it calls.
    fn assistant(&mut self, messages: &mut Vec<Value>) {
        let ids: Vec<String> = self.some(0, |r| format!("call_{}", r.below(1 << 30)));
        let calls: Vec<Value> = ids.iter().map(|id| self.call(id)).collect();
        let mut message = json!({"role": "assistant", "content": self.text()});
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
            message["content"] = self.sometimes(Self::text).map_or(Value::Null, Value::from);
        }
        messages.push(message);
        messages.extend(
            ids.iter()
                .map(|id| json!({"role": "tool", "tool_call_id": id, "content": self.text()})),
        );
    }

    fn call(&mut self, id: &str) -> Value {
        let function = json!({"name": "tool_1", "arguments": self.arguments().to_string()});
        json!({"id": id, "type": "function", "function": function})
    }

    fn chat(&mut self) -> Value {
        let mut messages = self.some(0, |r| json!({"role": "system", "content": r.text()}));
        messages.push(json!({"role": "user", "content": self.user_parts()}));
        for _ in 0..self.below(3) {
            self.assistant(&mut messages);
            messages.push(json!({"role": "user", "content": self.user_parts()}));
        }
        let tools = self.some(1, |r| r.tool());
        let mut body = Map::new();
        body.insert("messages".into(), json!(messages));
        body.insert("tools".into(), json!(tools));
        let options = [
            ("temperature", json!(0.25)),
            ("max_completion_tokens", json!(1 + self.below(9000))),
            ("stop", json!(self.some(1, Self::text))),
            ("user", json!(self.text())),
            ("parallel_tool_calls", json!(false)),
            ("tool_choice", self.choice()),
            (
                "reasoning_effort",
                json!(["low", "medium", "high", "xhigh"][self.below(4)]),
            ),
            (
                "response_format",
                json!({"type": "json_schema", "json_schema": {"name": "output", "schema": self.arguments()}}),
            ),
        ];
        for (name, value) in options {
            body.extend(self.sometimes(|_| (name.to_owned(), value)));
        }
        json!(body)
    }

    fn tool(&mut self) -> Value {
        let name = format!("tool_{}", self.below(9));
        let schema = json!({"type": "object", "properties": self.arguments()});
        let mut function = json!({"name": name, "parameters": schema});
        if let Some(text) = self.sometimes(Self::text) {
            function["description"] = json!(text);
        }
        if self.below(3) == 0 {
            function["strict"] = json!(true);
        }
        json!({"type": "function", "function": function})
    }

    fn choice(&mut self) -> Value {
        let named = json!({"type": "function", "function": {"name": "tool_1"}});
        [json!("auto"), json!("none"), json!("required"), named][self.below(4)].clone()
    }
}

/// What a chat request asks, in one form: speakers alternate, contents are lists, defaults are there, JSON is parsed.
fn meaning(body: &Value) -> Value {
    let mut turns: Vec<(String, Vec<Value>)> = Vec::new();
    for message in body["messages"].as_array().unwrap() {
        let (role, parts) = said(message);
        match turns.last_mut() {
            Some((last, said)) if *last == role => said.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    let rest = ["temperature", "stop", "user", "reasoning_effort"].map(|name| body.get(name));
    json!({
        "turns": turns,
        "tools": body["tools"],
        "choice": body.get("tool_choice").cloned().unwrap_or(json!("auto")),
        "parallel": body.get("parallel_tool_calls").cloned().unwrap_or(json!(true))
            != json!(false) || body["tool_choice"] == "none",
        "bound": body.get("max_completion_tokens").cloned().unwrap_or(json!(REQUEST.default_max_tokens)),
        "schema": body.pointer("/response_format/json_schema/schema"),
        "rest": rest,
    })
}

fn said(message: &Value) -> (String, Vec<Value>) {
    let mut parts = match &message["content"] {
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        Value::Array(parts) => parts.clone(),
        _ => Vec::new(),
    };
    if message["role"] == "tool" {
        return (
            "user".into(),
            vec![json!({"result": message["tool_call_id"], "said": parts})],
        );
    }
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let function = &call["function"];
        let arguments = parsed(function["arguments"].as_str().unwrap().as_bytes());
        parts.push(json!({"call": call["id"], "name": function["name"], "arguments": arguments}));
    }
    (message["role"].as_str().unwrap().into(), parts)
}

#[test]
fn a_chat_that_went_through_messages_means_the_same() {
    let accepts = Accepts {
        sampling: true,
        effort: true,
        schema: true,
    };
    let options = RequestOptions { accepts, ..REQUEST };
    let mut random = Random(0x5eed_1234_5678_9abc);
    for round in 0..600 {
        let chat = random.chat();
        let there = request(Chat, Messages, chat.to_string().as_bytes(), &options).unwrap();
        let back = request(Messages, Chat, &there.body, &options).unwrap();
        assert_eq!(
            (there.dropped, back.dropped),
            (vec![], vec![]),
            "round {round}: {chat}"
        );
        assert_eq!(meaning(&parsed(&back.body)), meaning(&chat), "round {round}");
    }
}

#[test]
fn a_request_that_went_both_ways_is_the_same_when_it_goes_again() {
    let mut random = Random(0xfeed_1234_5678_9abc);
    for _ in 0..500 {
        let chat = random.chat();
        let there = request(Chat, Messages, chat.to_string().as_bytes(), &REQUEST)
            .unwrap()
            .body;
        let Ok(back) = request(Messages, Chat, &there, &REQUEST) else {
            continue;
        };
        // The schema's tool is reserved: it can't be a client's.
        if let Ok(again) = request(Chat, Messages, &back.body, &REQUEST) {
            assert_eq!(parsed(&again.body), parsed(&there));
        }
    }
}

#[test]
fn an_answer_that_went_through_messages_means_the_same() {
    let mut random = Random(0xa11_5eed);
    for round in 0..1_000 {
        let ids = random.some(0, |r| format!("call_{}", r.below(1 << 30)));
        let calls: Vec<Value> = ids.iter().map(|id| random.call(id)).collect();
        let (cached, fresh, output) = (random.below(100), random.below(100), random.below(100));
        let finish = ["stop", "length", "content_filter"][random.below(3)];
        let finish = if finish == "stop" && !calls.is_empty() {
            "tool_calls"
        } else {
            finish
        };
        let mut message = json!({"role": "assistant", "content": random.text(), "refusal": null});
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        let chat = json!({
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
            "usage": {"prompt_tokens": cached + fresh, "completion_tokens": output, "total_tokens": cached + fresh + output,
                      "prompt_tokens_details": {"cached_tokens": cached}},
        });
        let there = answer(Chat, Messages, chat.to_string().as_bytes(), &ANSWER).unwrap();
        let back = parsed(&answer(Messages, Chat, &there, &ANSWER).unwrap());
        assert_eq!(back["choices"], chat["choices"], "round {round}");
        for field in [
            "/prompt_tokens",
            "/completion_tokens",
            "/total_tokens",
            "/prompt_tokens_details/cached_tokens",
        ] {
            assert_eq!(
                back["usage"].pointer(field),
                chat["usage"].pointer(field),
                "round {round}"
            );
        }
    }
}

/// What a stream of chunks comes to.
fn assembled(stream: &str) -> Value {
    let (mut text, mut calls, mut finish, mut usage) = (String::new(), Vec::new(), Value::Null, Value::Null);
    for data in stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
    {
        let chunk = parsed(data.as_bytes());
        let choice = &chunk["choices"][0];
        text.push_str(choice["delta"]["content"].as_str().unwrap_or(""));
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if index == calls.len() {
                calls.push((
                    call["id"].clone(),
                    call["function"]["name"].clone(),
                    String::new(),
                ));
            }
            calls[index]
                .2
                .push_str(call["function"]["arguments"].as_str().unwrap_or(""));
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
        if chunk["usage"].is_object() {
            usage = json!([
                chunk["usage"]["prompt_tokens"],
                chunk["usage"]["completion_tokens"]
            ]);
        }
    }
    json!([text, calls, finish, usage, stream.ends_with("data: [DONE]\n\n")])
}

#[test]
fn a_stream_that_went_through_messages_means_the_same() {
    let mut random = Random(0x57_5eed);
    for round in 0..500 {
        let mut deltas = random.some(0, |r| json!({"content": r.text()}));
        let ids = random.some(0, |r| format!("call_{}", r.below(1 << 30)));
        for (index, id) in ids.iter().enumerate() {
            let arguments = random.arguments().to_string();
            let at = (0..=arguments.len() / 2)
                .rev()
                .find(|at| arguments.is_char_boundary(*at))
                .unwrap();
            let call = |more: Value| json!({"tool_calls": [more]});
            deltas.push(call(json!({"index": index, "id": id, "type": "function", "function": {"name": "f", "arguments": ""}})));
            for piece in [&arguments[..at], &arguments[at..]] {
                deltas.push(call(json!({"index": index, "function": {"arguments": piece}})));
            }
        }
        let finish = if ids.is_empty() { "stop" } else { "tool_calls" };
        let mut chunks: Vec<Value> = deltas
            .iter()
            .map(|delta| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
            .collect();
        chunks.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}));
        chunks.push(json!({"choices": [], "usage": {"prompt_tokens": random.below(99), "completion_tokens": random.below(99)}}));
        let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        let stream = stream + "data: [DONE]\n\n";
        let there = streamed(Chat, Messages, [stream.as_bytes()]);
        let back = streamed(Messages, Chat, there.as_bytes().chunks(1 + random.below(50)));
        assert_eq!(assembled(&back), assembled(&stream), "round {round}");
    }
}
