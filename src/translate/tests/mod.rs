//! Translation against the providers' published examples, against itself there and back, and against hostile input.

mod answers;
mod errors;
mod hostile;
mod requests;
mod roundtrips;
mod streams;
mod tools;

use serde_json::{Value, json};

use super::{
    Accepts, AnswerOptions, Protocol, RequestOptions, StreamOptions, StreamTranslator, Translated,
    Untranslatable,
};

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/samples/", $name))
    };
}
use sample;

const REQUEST: RequestOptions<'static> = RequestOptions {
    model: "their-model",
    stream: false,
    default_max_tokens: 4_096,
    accepts: Accepts {
        sampling: true,
        effort: false,
        schema: false,
    },
};

const ANSWER: AnswerOptions<'static> = AnswerOptions {
    model: "asked-for",
    id: "7",
    created: 1_741_570_283,
};

const STREAM: StreamOptions<'static> = StreamOptions {
    answer: ANSWER,
    include_usage: true,
    event_bound: 1 << 16,
};

/// A request translated: what is sent, and what is named.
fn sent(from: Protocol, to: Protocol, body: &Value) -> Result<(Value, Vec<&'static str>), Untranslatable> {
    let Translated { body, dropped } = super::request(from, to, body.to_string().as_bytes(), &REQUEST)?;
    Ok((parsed(&body), dropped))
}

/// What it becomes, when nothing is dropped.
fn exact(from: Protocol, to: Protocol, body: &Value) -> Value {
    let (body, dropped) = sent(from, to, body).unwrap();
    assert!(dropped.is_empty(), "{dropped:?}");
    body
}

fn refused(from: Protocol, to: Protocol, body: &Value) -> String {
    sent(from, to, body).unwrap_err().to_string()
}

/// A chat of one user's words, and `more`.
fn chat(more: &Value) -> Value {
    with(
        json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}),
        more,
    )
}

/// The same of Anthropic's.
fn messages(more: &Value) -> Value {
    with(
        json!({"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}),
        more,
    )
}

fn with(mut body: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// An answer translated.
fn given(from: Protocol, to: Protocol, body: &[u8]) -> Value {
    parsed(&super::answer(from, to, body, &ANSWER).unwrap())
}

/// A stream translated, in these pieces.
fn streamed<'p>(from: Protocol, to: Protocol, pieces: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut translator = StreamTranslator::new(from, to, &STREAM);
    let mut out = Vec::new();
    for piece in pieces {
        let said = translator.push(piece);
        assert!(
            said.is_empty() || said.ends_with(b"\n\n"),
            "an incomplete event went out"
        );
        out.extend(said);
    }
    out.extend(translator.finish());
    assert!(translator.closed());
    assert!(translator.push(b"data: {}\n\n").is_empty() && translator.finish().is_empty());
    String::from_utf8(out).unwrap()
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}
