//! Event streams.

use super::super::{Answer, Endpoint, Passed, StreamOptions, StreamReader, Usage};
use super::{Random, text, usage};

const BOUND: usize = 1 << 20;

/// What a stream came to: the bytes that went on, those that were held, and the facts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) passed: Vec<u8>,
    held: Vec<u8>,
    pub(super) usage: Option<Usage>,
    pub(super) deltas: u64,
    tokens: u64,
    /// begun, usage fault, error, finished, done, oversize
    flags: [bool; 6],
    model: Option<String>,
    over: bool,
    answer: Answer,
}

pub(super) fn options(strip_usage: bool, hold_end: bool) -> StreamOptions {
    StreamOptions {
        strip_usage,
        strip_notes: false,
        gather: Some(1000),
        gather_calls: false,
        hold_end,
        line_bound: BOUND,
    }
}

fn run(endpoint: Endpoint, options: StreamOptions, pieces: &[&[u8]]) -> Outcome {
    outcome(StreamReader::new(endpoint, options), pieces, |_| {})
}

/// What a reader makes of the pieces; `between` is done to it before each.
pub(super) fn outcome(
    mut reader: StreamReader,
    pieces: &[&[u8]],
    mut between: impl FnMut(&mut StreamReader),
) -> Outcome {
    let mut passed = Vec::new();
    for piece in pieces {
        between(&mut reader);
        match reader.push(piece) {
            Passed::Unchanged => passed.extend_from_slice(piece),
            Passed::Replaced(bytes) => passed.extend_from_slice(&bytes),
        }
    }
    passed.extend(reader.finish());
    let held = reader.take_held();
    let p = reader.progress();
    Outcome {
        passed,
        held,
        usage: p.usage,
        deltas: p.deltas,
        tokens: p.generated.tokens(),
        flags: [p.begun, p.usage_fault, p.error, p.finished, p.done, p.oversize],
        model: p.model.clone(),
        over: reader.is_over(),
        answer: reader.answer(),
    }
}

pub(super) struct Stream {
    pub(super) endpoint: Endpoint,
    pub(super) bytes: &'static [u8],
    usage: Option<Usage>,
    deltas: u64,
    answer: Answer,
    /// error, done
    ends: [bool; 2],
    /// The first bytes of the event that is held.
    held: &'static str,
    /// How many events are dropped.
    stripped: usize,
}

fn stream(endpoint: Endpoint, bytes: &'static [u8], answer: Answer) -> Stream {
    Stream {
        endpoint,
        bytes,
        usage: None,
        deltas: 0,
        answer,
        ends: [false, true],
        held: "",
        stripped: 0,
    }
}

pub(super) fn streams() -> Vec<Stream> {
    use Endpoint::{ChatCompletions, Completions, Messages, Responses};
    let (json, chunk) = (
        "{\"id\": 7, \"n\": \"Zoë😀 日本\" }",
        "data: {\"id\":\"chatcmpl-9x\"",
    );
    let input = Usage {
        input: 1125,
        cached_input: 1000,
        cache_write: 100,
        ..Usage::default()
    };
    let snapshot = |output| Some(Usage { output, ..input });
    vec![
        Stream {
            deltas: 5,
            held: chunk,
            ..stream(ChatCompletions, sample!("chat_stream.sse"), text(json))
        },
        Stream {
            usage: usage(19, 6, 0, 0),
            deltas: 5,
            held: chunk,
            stripped: 1,
            ..stream(ChatCompletions, sample!("chat_stream_usage.sse"), text(json))
        },
        Stream {
            usage: usage(19, 6, 0, 0),
            deltas: 5,
            held: chunk,
            stripped: 1,
            ..stream(ChatCompletions, sample!("chat_stream_crlf.sse"), text(json))
        },
        Stream {
            usage: usage(19, 6, 0, 0),
            deltas: 5,
            held: chunk,
            stripped: 1,
            ..stream(ChatCompletions, sample!("chat_stream_cr.sse"), text(json))
        },
        Stream {
            usage: usage(19, 6, 0, 0),
            deltas: 5,
            held: "data: {\"id\": \"chatcmpl-9x\"",
            ..stream(ChatCompletions, sample!("chat_stream_odd.sse"), text(json))
        },
        Stream {
            usage: usage(19, 6, 0, 0),
            deltas: 3,
            held: chunk,
            stripped: 1,
            ..stream(
                ChatCompletions,
                sample!("chat_stream_tools.sse"),
                Answer::ToolCalls,
            )
        },
        Stream {
            deltas: 3,
            held: chunk,
            ..stream(ChatCompletions, sample!("chat_stream_two.sse"), Answer::Many(2))
        },
        Stream {
            deltas: 1,
            ends: [true, false],
            ..stream(ChatCompletions, sample!("chat_stream_error.sse"), Answer::Error)
        },
        Stream {
            deltas: 2,
            held: chunk,
            ..stream(ChatCompletions, sample!("chat_stream_reasoning.sse"), Answer::Cut)
        },
        Stream {
            usage: usage(5, 2, 0, 0),
            deltas: 2,
            held: "data: {\"id\":\"cmpl-1\"",
            stripped: 1,
            ..stream(Completions, sample!("completion_stream.sse"), text("This is"))
        },
        Stream {
            usage: usage(37, 11, 30, 5),
            deltas: 2,
            held: "event: response.completed",
            ..stream(Responses, sample!("response_stream.sse"), text("Hi thère 😀"))
        },
        Stream {
            usage: usage(37, 11, 30, 5),
            deltas: 2,
            held: "event: response.completed",
            ..stream(Responses, sample!("response_stream_tools.sse"), Answer::ToolCalls)
        },
        Stream {
            usage: usage(37, 11, 30, 5),
            deltas: 1,
            held: "event: response.incomplete",
            ..stream(Responses, sample!("response_stream_incomplete.sse"), Answer::Cut)
        },
        Stream {
            ends: [true, true],
            ..stream(Responses, sample!("response_stream_failed.sse"), Answer::Error)
        },
        Stream {
            usage: snapshot(15),
            deltas: 2,
            held: "event: message_delta",
            ..stream(Messages, sample!("message_stream.sse"), text("Héllo 😀!"))
        },
        Stream {
            usage: snapshot(89),
            deltas: 4,
            held: "event: message_delta",
            ..stream(Messages, sample!("message_stream_tools.sse"), Answer::ToolCalls)
        },
        Stream {
            usage: snapshot(1),
            deltas: 1,
            ends: [true, false],
            ..stream(Messages, sample!("message_stream_error.sse"), Answer::Error)
        },
    ]
}

const CHOICES: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

#[test]
fn streams_say_what_they_should() {
    for (number, sample) in streams().into_iter().enumerate() {
        for (strip, hold) in CHOICES {
            let outcome = run(sample.endpoint, options(strip, hold), &[sample.bytes]);
            assert_eq!(outcome.usage, sample.usage, "{number}");
            assert_eq!(outcome.deltas, sample.deltas, "{number}");
            assert_eq!(outcome.answer, sample.answer, "{number}");
            let [begun, fault, error, _, done, oversize] = outcome.flags;
            assert_eq!(
                (begun, [error, done]),
                (sample.deltas > 0, sample.ends),
                "{number}"
            );
            assert!(!fault && !oversize && outcome.model.is_some(), "{number}");
        }
    }
}

#[test]
fn only_what_was_asked_for_is_changed() {
    for (number, sample) in streams().into_iter().enumerate() {
        let kept = |strip, hold| run(sample.endpoint, options(strip, hold), &[sample.bytes]);
        assert_eq!(kept(false, false).passed, sample.bytes, "{number}");
        let stripped = kept(true, false).passed;
        let blank = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("data:").count();
        assert_eq!(
            blank(sample.bytes) - blank(&stripped),
            sample.stripped,
            "{number}"
        );
        assert_eq!(stripped == sample.bytes, sample.stripped == 0, "{number}");
        let holding = kept(false, true);
        assert_eq!(
            [&holding.passed[..], &holding.held[..]].concat(),
            sample.bytes,
            "{number}"
        );
        assert!(holding.held.starts_with(sample.held.as_bytes()), "{number}");
        assert_eq!(holding.held.is_empty(), sample.held.is_empty(), "{number}");
        let both = kept(true, true);
        assert_eq!([&both.passed[..], &both.held[..]].concat(), stripped, "{number}");
    }
}

/// Long streams are cut everywhere with nothing and with everything to change; short ones with each alone, too.
#[test]
fn streams_come_to_the_same_at_every_split() {
    for (number, sample) in streams().into_iter().enumerate() {
        let each = sample.bytes.len() < 1000;
        for (strip, hold) in CHOICES.into_iter().filter(|(strip, hold)| each || strip == hold) {
            let options = options(strip, hold);
            let whole = run(sample.endpoint, options, &[sample.bytes]);
            for at in 0..=sample.bytes.len() {
                let (left, right) = sample.bytes.split_at(at);
                assert_eq!(
                    run(sample.endpoint, options, &[left, right]),
                    whole,
                    "{number} cut at {at}"
                );
            }
            let bytes: Vec<&[u8]> = sample.bytes.chunks(1).collect();
            assert_eq!(
                run(sample.endpoint, options, &bytes),
                whole,
                "{number} byte by byte"
            );
        }
    }
}

#[test]
fn a_small_stream_comes_to_the_same_at_every_two_splits() {
    let lines = "\u{feff}data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}\n\n: x\n\ndata: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
    for stream in [
        lines.to_owned(),
        lines.replace('\n', "\r\n"),
        lines.replace('\n', "\r"),
    ] {
        for (strip, hold) in CHOICES {
            let (bytes, options) = (stream.as_bytes(), options(strip, hold));
            let whole = run(Endpoint::ChatCompletions, options, &[bytes]);
            assert_eq!(whole.usage, usage(1, 1, 0, 0));
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(
                        run(Endpoint::ChatCompletions, options, &pieces),
                        whole,
                        "cut at {first}, {second}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_event_over_its_bound_passes_unread_at_every_split() {
    let long = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\r\n\r\n",
        "x".repeat(200)
    );
    let stream =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}]}}\n\n{long}data: [DONE]\n\n");
    for (strip, hold) in CHOICES {
        for line_bound in [100, 150, long.len() - 3, long.len() - 2, long.len()] {
            let options = StreamOptions {
                line_bound,
                ..options(strip, hold)
            };
            let whole = run(Endpoint::ChatCompletions, options, &[stream.as_bytes()]);
            assert_eq!([&whole.passed[..], &whole.held[..]].concat(), stream.as_bytes());
            let over = line_bound < long.len() - 2;
            assert_eq!(
                (whole.flags[5], whole.deltas),
                (over, if over { 1 } else { 2 }),
                "{line_bound}"
            );
            for at in 0..=stream.len() {
                let (left, right) = stream.as_bytes().split_at(at);
                assert_eq!(
                    run(Endpoint::ChatCompletions, options, &[left, right]),
                    whole,
                    "cut at {at}"
                );
            }
        }
    }
}

/// As Azure documents its content filter, synchronous and asynchronous.
const AZURE: &str = include_str!("../../../tests/samples/chat_stream_azure.sse");

#[test]
fn what_azure_tells_beside_the_answer_is_dropped_at_every_split_and_nothing_else() {
    let events = AZURE.split_inclusive("\n\n");
    let own: String = events.filter(|event| !event.contains(r#""object":"""#)).collect();
    let options = StreamOptions {
        strip_notes: true,
        ..options(false, false)
    };
    let whole = run(Endpoint::ChatCompletions, options, &[AZURE.as_bytes()]);
    assert_eq!(String::from_utf8_lossy(&whole.passed), own);
    assert_eq!(
        (whole.usage, &whole.answer),
        (usage(9, 2, 0, 0), &text("Good evening"))
    );
    for at in 0..=AZURE.len() {
        let (left, right) = AZURE.as_bytes().split_at(at);
        let cut = run(Endpoint::ChatCompletions, options, &[left, right]);
        assert_eq!(cut, whole, "cut at {at}");
    }
}

#[test]
fn a_line_of_a_mebibyte_costs_no_more_memory_than_its_bound() {
    let options = StreamOptions {
        line_bound: 1000,
        ..options(true, true)
    };
    let mut reader = StreamReader::new(Endpoint::ChatCompletions, options);
    let piece = [b'x'; 1024];
    let mut passed = 0;
    for _ in 0..1024 {
        match reader.push(&piece) {
            Passed::Unchanged => passed += piece.len(),
            Passed::Replaced(bytes) => passed += bytes.len(),
        }
    }
    assert_eq!(passed, 1024 * 1024);
    assert!(reader.progress().oversize);
    assert!(!reader.between_events());
}

#[test]
fn what_is_held_beyond_the_bound_passes_instead() {
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let stream = format!("{end}{}data: [DONE]\n\n", ": nothing\n\n".repeat(50));
    let options = StreamOptions {
        line_bound: 200,
        ..options(false, true)
    };
    let whole = run(Endpoint::ChatCompletions, options, &[stream.as_bytes()]);
    assert_eq!(
        (whole.passed.as_slice(), whole.flags[5]),
        (stream.as_bytes(), true)
    );
    assert_eq!(whole.answer, Answer::TooLong);
    for at in 0..=stream.len() {
        let (left, right) = stream.as_bytes().split_at(at);
        assert_eq!(
            run(Endpoint::ChatCompletions, options, &[left, right]),
            whole,
            "cut at {at}"
        );
    }
}

#[test]
fn a_failed_answer_ends_before_its_end() {
    let mut reader = StreamReader::new(Endpoint::ChatCompletions, options(false, true));
    let bytes = sample!("chat_stream.sse");
    let Passed::Replaced(passed) = reader.push(bytes) else {
        panic!("the end is held")
    };
    assert!(reader.holds() && reader.between_events());
    assert!(passed.ends_with(b"\n\n") && bytes.starts_with(&passed));
    reader.fail();
    assert_eq!(reader.push(b"data: more\n\n"), Passed::Replaced(Vec::new()));
    assert!(reader.finish().is_empty() && reader.take_held().is_empty());
}

#[test]
fn what_was_released_is_followed_by_the_rest() {
    let mut reader = StreamReader::new(Endpoint::ChatCompletions, options(false, true));
    let end = b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(reader.push(end), Passed::Replaced(Vec::new()));
    assert_eq!(reader.take_held(), end);
    assert_eq!(reader.push(b"data: [DONE]\n\n"), Passed::Unchanged);
}

#[test]
fn gathered_text_is_bounded_and_an_unfinished_stream_is_cut() {
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"0123456789\"}}]}\n\n";
    let end = b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let bounded = |bound| StreamOptions {
        gather: Some(bound),
        ..options(false, false)
    };
    let answer = |bound, pieces: &[&[u8]]| run(Endpoint::ChatCompletions, bounded(bound), pieces).answer;
    assert_eq!(answer(10, &[event, end]), text("0123456789"));
    assert_eq!(answer(9, &[event, end]), Answer::TooLong);
    assert_eq!(answer(10, &[event]), Answer::Cut);
    assert_eq!(answer(10, &[end]), Answer::Empty);
}

#[test]
fn whole_events_pass_without_a_copy() {
    let mut reader = StreamReader::new(Endpoint::ChatCompletions, options(true, false));
    for event in sample!("chat_stream.sse")
        .split_inclusive(|b| *b == b'\n')
        .collect::<Vec<_>>()
        .chunks(2)
    {
        assert_eq!(reader.push(&event.concat()), Passed::Unchanged);
    }
}

#[test]
fn streams_of_nonsense_pass_unchanged() {
    let deep = format!("data: {}\n\n", "[".repeat(10_000));
    for bytes in [
        &b"\xff\xfe\n\n\r\r\n"[..],
        b"data: {\"choices\":\n\n",
        b"data: {\"choices\":[{\"delta\":7}]}\n\n",
        deep.as_bytes(),
        b"{}",
    ] {
        let outcome = run(Endpoint::ChatCompletions, options(true, true), &[bytes]);
        assert_eq!((outcome.passed.as_slice(), outcome.usage), (bytes, None));
    }
    let faulty = b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-1}}\n\n";
    assert!(run(Endpoint::ChatCompletions, options(false, false), &[faulty]).flags[1]);
}

/// Bytes of the samples changed at random (a fixed sequence), cut at random: nothing panics, nothing depends on the cut.
#[test]
fn damaged_streams_come_to_the_same_at_random_splits() {
    let mut random = Random(7);
    let samples = streams();
    for round in 0..3000 {
        let sample = &samples[random.below(samples.len())];
        let bytes = random.damaged(sample.bytes);
        let options = StreamOptions {
            line_bound: 50 + random.below(800),
            ..options(round % 2 == 0, round % 3 == 0)
        };
        let whole = run(sample.endpoint, options, &[&bytes]);
        let (left, right) = bytes.split_at(random.below(bytes.len() + 1));
        let (middle, right) = right.split_at(random.below(right.len() + 1));
        assert_eq!(
            run(sample.endpoint, options, &[left, middle, right]),
            whole,
            "round {round}"
        );
    }
}
