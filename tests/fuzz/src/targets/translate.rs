//! Translation between protocols: requests, answers, errors, streams.

use spillway::body::sse::{self, Blocks};
use spillway::dialect::{Endpoint, Passed, StreamOptions as Reading, StreamReader, scan};
use spillway::translate::{
    Accepts, AnswerOptions, Protocol, RequestOptions, StreamOptions, StreamTranslator, answer, error, request,
};

use crate::input::{Input, cut};
use crate::truth;

/// What providers speak, and what clients do.
const FROM: [Protocol; 3] = [Protocol::Chat, Protocol::Messages, Protocol::Gemini];
const TO: [Protocol; 2] = [Protocol::Chat, Protocol::Messages];

const ANSWER: AnswerOptions<'static> = AnswerOptions {
    model: "asked-for",
    id: "7",
    created: 1_741_570_283,
};

/// What comes out is JSON, and no more than a few times what went in; a request in the other protocol is one that can be
/// scanned there, streamed if it was to be; what was dropped is named by fixed words; an error keeps a status of errors.
pub fn translate_body(data: &[u8]) {
    let mut input = Input::new(data);
    let (what, from, to, choice) = (
        input.byte() % 3,
        input.pick(&FROM),
        input.pick(&FROM),
        input.byte(),
    );
    let body = input.rest();
    match what {
        0 => translated_request(from, to, body, choice),
        1 => {
            if let Ok(out) = answer(from, to, body, &ANSWER) {
                is_bounded(from, to, body, &out);
            }
        }
        _ => {
            let status = 400 + u16::from(choice);
            let (status, out) = error(from, to, status, body);
            assert!((400..656).contains(&status));
            if from != to {
                is_bounded(from, to, body, &out);
            }
        }
    }
}

fn is_bounded(from: Protocol, to: Protocol, body: &[u8], out: &[u8]) {
    if from != to {
        truth::assert_json_of(body, out);
    }
    // An escape of six bytes for one byte, a few hundred for a container's own names.
    assert!(
        out.len() <= body.len() * 64 + 4_096,
        "{} bytes of {}",
        out.len(),
        body.len()
    );
}

fn translated_request(from: Protocol, to: Protocol, body: &[u8], choice: u8) {
    let options = RequestOptions {
        model: "their-model",
        stream: choice & 1 > 0,
        default_max_tokens: 4_096,
        accepts: Accepts {
            sampling: choice & 2 > 0,
            effort: choice & 4 > 0,
            schema: choice & 8 > 0,
        },
    };
    let Ok(out) = request(from, to, body, &options) else {
        return;
    };
    is_bounded(from, to, body, &out.body);
    let plain = |name: &&str| {
        name.bytes()
            .all(|byte| matches!(byte, 0x20..=0x7e) && byte != b',')
    };
    assert!(out.dropped.iter().all(plain), "{:?}", out.dropped);
    let endpoint = |protocol| match protocol {
        Protocol::Chat => Some(Endpoint::ChatCompletions),
        Protocol::Messages => Some(Endpoint::Messages),
        Protocol::Gemini => None,
    };
    // What its own protocol's reader refuses, or isn't UTF-8, is refused before it is translated.
    let taken = endpoint(from).is_none_or(|from| scan(from, body).is_ok());
    let Some(to) = endpoint(to).filter(|_| from != to && taken && core::str::from_utf8(body).is_ok()) else {
        return;
    };
    let read = scan(to, &out.body);
    let Ok(read) = read else {
        panic!("{read:?}: {}", String::from_utf8_lossy(&out.body));
    };
    assert_eq!((&*read.model, read.stream), ("their-model", options.stream));
}

/// The block that is open after an event of Anthropic's: each begins, grows and ends before the next, and before the end.
fn nested(name: &[u8], data: &[u8], open: Option<u64>) -> Option<u64> {
    let index = truth::value(data).and_then(|event| event.get("index")?.as_u64());
    match name {
        b"content_block_start" => {
            assert!(open.is_none() && index.is_some(), "{open:?} is open yet");
            index
        }
        b"content_block_delta" => {
            assert!(open.is_some() && open == index, "{open:?} grows");
            open
        }
        b"content_block_stop" => {
            assert!(open.is_some() && open == index, "{open:?} ends");
            None
        }
        b"message_delta" | b"message_stop" => {
            assert!(open.is_none(), "{open:?} never ends");
            None
        }
        _ => open,
    }
}

/// However a stream is cut, the same goes out: whole events of the client's protocol, each with JSON or the last word, and
/// in the end either that protocol's end or an error, once; the client's own reader finds it ended or failed.
pub fn translate_stream(data: &[u8]) {
    let mut input = Input::new(data);
    let (seed, from, to, choice) = (input.short(), input.pick(&FROM), input.pick(&TO), input.byte());
    let stream = input.rest();
    let options = StreamOptions {
        answer: ANSWER,
        include_usage: choice & 1 > 0,
        event_bound: if choice & 2 > 0 { 300 } else { 1 << 16 },
    };
    let out = translated(from, to, &options, &[stream]);
    assert_eq!(
        out,
        translated(from, to, &options, &cut(stream, seed)),
        "cuts change what goes out"
    );
    if from == to {
        assert_eq!(out, stream);
    } else {
        is_whole(to, stream, &out);
    }
}

fn translated(from: Protocol, to: Protocol, options: &StreamOptions<'_>, pieces: &[&[u8]]) -> Vec<u8> {
    let mut translator = StreamTranslator::new(from, to, options);
    let mut out: Vec<u8> = pieces.iter().flat_map(|piece| translator.push(piece)).collect();
    out.extend(translator.finish());
    assert!(from == to || translator.closed());
    assert!(translator.finish().is_empty() && (from == to || translator.push(b"data: {}\n\n").is_empty()));
    out
}

fn is_whole(to: Protocol, stream: &[u8], out: &[u8]) {
    let (mut blocks, mut rest, mut joined) = (Blocks::default(), out, Vec::new());
    let (mut ends, mut open) = (0, None);
    while let Some(length) = blocks.end(rest) {
        let (block, after) = rest.split_at(length);
        rest = after;
        let Some(event) = sse::event(block, &mut joined) else {
            panic!("a block without data: {}", String::from_utf8_lossy(out));
        };
        let done = event.data == b"[DONE]";
        if !done {
            truth::assert_json_of(stream, event.data);
        }
        let failed = match to {
            Protocol::Chat => event.data.starts_with(b"{\"error\""),
            Protocol::Messages | Protocol::Gemini => event.name == b"error",
        };
        ends += usize::from(done || failed || event.name == b"message_stop");
        if to == Protocol::Messages && !failed {
            open = nested(event.name, event.data, open);
        }
    }
    assert!(rest.is_empty(), "half an event: {}", String::from_utf8_lossy(out));
    assert_eq!(ends, 1, "one end: {}", String::from_utf8_lossy(out));
    let endpoint = match to {
        Protocol::Chat => Endpoint::ChatCompletions,
        Protocol::Messages | Protocol::Gemini => Endpoint::Messages,
    };
    let options = Reading {
        strip_usage: false,
        strip_notes: false,
        gather: None,
        gather_calls: false,
        hold_end: false,
        line_bound: 1 << 20,
    };
    let mut reader = StreamReader::new(endpoint, options);
    assert_eq!(reader.push(out), Passed::Unchanged);
    let progress = reader.progress();
    assert!(
        progress.done || progress.error,
        "{}",
        String::from_utf8_lossy(out)
    );
}
