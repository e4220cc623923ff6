//! Translation against the providers' published examples, against itself there and back, and against hostile input.

mod answers;
mod errors;
mod requests;
mod streams;

use serde_json::Value;

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
