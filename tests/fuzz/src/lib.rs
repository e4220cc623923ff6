//! Fuzzing of the native core: for each part that reads bytes from outside, a function of any bytes that holds a property.
//!
//! ```text
//! targets/    the functions; the property of each is its doc comment
//! lab/        a host in memory, for whole exchanges
//! truth.rs    what results are held against
//! mutate.rs   inputs out of seeds by chance, for stable Rust
//! seeds.rs    what fuzzing begins with: the samples and policies of the repository
//! ```
//!
//! `libfuzzer/` runs them under cargo-fuzz; the test `corpora` replays every file of `corpus/` through them, on stable Rust;
//! the program `spillway-fuzz` replays single files and writes seeds. No input is longer than [`LONGEST`], and no target does
//! more than a fixed number of linear passes over it, so that libFuzzer's own limit on time holds any that isn't linear.

// Targets end in a panic where a property doesn't hold: that is how a fuzzer is told.
#![allow(clippy::panic, clippy::indexing_slicing, missing_docs)]

mod input;
mod lab;
pub mod mutate;
pub mod seeds;
mod targets;
mod truth;

pub use targets::answer::answer_body;
pub use targets::exchange::exchange;
pub use targets::guard::guard;
pub use targets::headers::headers;
pub use targets::json::json;
pub use targets::moderation::moderation;
pub use targets::policy::policy;
pub use targets::records::records;
pub use targets::repair::repair_text;
pub use targets::request::request;
pub use targets::rule::rule;
pub use targets::schema::schema;
pub use targets::sse::sse;
pub use targets::tokens::tokens_of;
pub use targets::translate::{translate_body, translate_stream};

/// Bytes of an input that are looked at.
pub const LONGEST: usize = 1 << 16;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: of its corpus, and of its program in `libfuzzer/`.
    pub name: &'static str,
    /// What is done with an input.
    pub run: fn(&[u8]),
    /// The files of `src/` that it is about, by how their paths begin: of these, coverage is told.
    pub about: &'static [&'static str],
}

/// Every target.
pub const TARGETS: &[Target] = &[
    target("json", json, &["json.rs", "json/"]),
    target(
        "headers",
        headers,
        &[
            "headers.rs",
            "headroom.rs",
            "date.rs",
            "dialect/signals.rs",
            "report/ratelimit.rs",
        ],
    ),
    target(
        "moderation",
        moderation,
        &["moderation/verdict.rs", "moderation/question.rs"],
    ),
    target("rule", rule, &["rule/"]),
    target(
        "records",
        records,
        &["ledger/", "breaker/", "failover/budget.rs", "layout.rs"],
    ),
    target("repair", repair_text, &["body/repair.rs", "body/repair/"]),
    target(
        "sse",
        sse,
        &[
            "body/sse.rs",
            "dialect/stream.rs",
            "dialect/event.rs",
            "dialect/chat.rs",
            "dialect/messages.rs",
            "dialect/responses.rs",
            "dialect/gemini.rs",
        ],
    ),
    target(
        "answer",
        answer_body,
        &[
            "dialect/answer.rs",
            "dialect/json_reader.rs",
            "dialect/usage.rs",
            "dialect/calls.rs",
            "dialect/amend.rs",
        ],
    ),
    target(
        "request",
        request,
        &[
            "dialect/request.rs",
            "dialect/prompt.rs",
            "dialect/rewrite.rs",
            "dialect/correction.rs",
            "dialect/fitted.rs",
            "dialect/wanted.rs",
            "dialect/choice.rs",
            "dialect/schema.rs",
            "dialect/image.rs",
        ],
    ),
    target(
        "tokens",
        tokens_of,
        &[
            "tokens/walk.rs",
            "tokens/weights.rs",
            "tokens/sample.rs",
            "tokens/running.rs",
            "tokens/exact/",
        ],
    ),
    target("translate_body", translate_body, &["translate/"]),
    target(
        "translate_stream",
        translate_stream,
        &[
            "translate/stream.rs",
            "translate/chat/speaker.rs",
            "translate/chat/listener.rs",
            "translate/messages/speaker.rs",
            "translate/messages/listener.rs",
            "translate/gemini/listener.rs",
        ],
    ),
    target("guard", guard, &["guard/"]),
    target(
        "schema",
        schema,
        &[
            "body/schema.rs",
            "body/survey.rs",
            "body/effort.rs",
            "body/verdict.rs",
            "body/pattern.rs",
            "body/cache.rs",
        ],
    ),
    target("policy", policy, &["policy/"]),
    target("exchange", exchange, &["exchange/", "route/", "failover/"]),
];

const fn target(name: &'static str, run: fn(&[u8]), about: &'static [&'static str]) -> Target {
    Target { name, run, about }
}
