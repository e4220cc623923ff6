//! Prompts near a limit are counted; the others aren't.

use serde_json::json;

use super::{Lab, Request, answered, chat, message};
use crate::dialect::{Endpoint, scan};
use crate::ledger::{Admission, Claim, Demand, Request as Asked};
use crate::policy::{Mode, Tokenizer};
use crate::tokens::exact::{Count, Counter, Encoding};
use crate::tokens::{self, Model};

const QUOTA: u64 = 1_000_000;
const TEXTS: [&str; 6] = [
    include_str!("../../../tests/tokens/held-out/en.udhr.txt"),
    include_str!("../../../tests/tokens/held-out/code.rust-itertools.txt"),
    include_str!("../../../tests/tokens/held-out/ru.udhr.txt"),
    include_str!("../../../tests/tokens/held-out/zh.udhr.txt"),
    include_str!("../../../tests/tokens/held-out/ar.udhr.txt"),
    include_str!("../../../tests/tokens/held-out/hi.udhr.txt"),
];

/// Pseudo-random numbers (xorshift), the same each time; and texts to draw from.
struct Dice {
    state: u64,
    texts: Vec<Vec<char>>,
}

impl Dice {
    fn new(state: u64) -> Self {
        let texts = TEXTS.iter().map(|text| text.chars().collect()).collect();
        Self { state, texts }
    }

    fn roll(&mut self, below: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 11).unwrap() % below.max(1)
    }

    /// Some characters of one of the texts, or of none.
    fn text(&mut self) -> String {
        let length = 1 + self.roll(600);
        let pick = self.roll(TEXTS.len() + 2);
        match self.texts.get(pick).map(Vec::len) {
            Some(characters) => {
                let from = self.roll(characters - length);
                self.texts[pick][from..from + length].iter().collect()
            }
            None if pick == TEXTS.len() => (0..length).map(|_| char::from(b'a' + self.byte(26))).collect(),
            None => {
                let any = |dice: &mut Self| char::from_u32(u32::try_from(dice.roll(0x3000)).unwrap());
                (0..length).filter_map(|_| any(self)).collect()
            }
        }
    }

    fn byte(&mut self, below: u8) -> u8 {
        u8::try_from(self.roll(usize::from(below))).unwrap()
    }
}

/// What a chat of one text costs by the tokenizer itself, without its output.
fn exactly(body: &[u8]) -> u64 {
    let facts = scan(Endpoint::ChatCompletions, body).unwrap();
    let around = tokens::around(
        &facts.prompt,
        Model {
            name: "gpt-4o",
            tokenizer: Tokenizer::O200k,
        },
    );
    match Counter::new().count(&facts.prompt.texts, Encoding::O200k, u64::MAX) {
        Count::Exactly(tokens) => tokens + around,
        Count::Over => unreachable!("nothing is over the largest number"),
    }
}

/// A limit that the tenant has used up but for `left`.
fn leave(lab: &mut Lab, left: u64) {
    lab.later(core::time::Duration::from_secs(61));
    let limit = &lab.gateway.policy.limits[0];
    let id = b"header:acme";
    let claims = [Claim {
        limit,
        key: lab.gateway.ledger.key(limit, id, &[id]),
        group: 0,
    }];
    let request = Asked {
        claims: &claims,
        habit: None,
        demand: Demand {
            max_output: Some(QUOTA - left),
            generates: true,
            ..Demand::default()
        },
        mode: Mode::Enforce,
    };
    let admission = lab.gateway.ledger.admit(&lab.store, &request, lab.now.monotonic);
    assert!(matches!(admission, Admission::Granted(_)), "{admission:?}");
}

fn lab() -> Lab {
    Lab::new(
        json!({"limits": [{"name": "t", "per": ["caller"], "tokens": QUOTA.to_string() + "/min", "reserve": "max"}]}),
    )
}

fn asked(text: &str, output: usize) -> Request {
    chat(json!({"messages": [{"role": "user", "content": text}], "max_tokens": output}))
}

#[test]
fn ten_thousand_prompts_near_the_limit_are_decided_as_the_tokenizer_would() {
    let (mut dice, mut lab) = (Dice::new(0x5eed_cafe), lab());
    let mut admitted = 0;
    for case in 0..10_000 {
        let (text, output) = (dice.text(), 1 + dice.roll(300));
        let request = asked(&text, output);
        let tokens = exactly(&request.body[0]) + u64::try_from(output).unwrap();
        let near = tokens + u64::try_from(dice.roll(41)).unwrap();
        let left = near.saturating_sub(20).max(1);
        leave(&mut lab, left);
        let call = lab.send(&request);
        let expected = tokens <= left;
        assert_eq!(
            call.reply.is_none(),
            expected,
            "case {case}: {tokens} of {left}: {text:?}"
        );
        admitted += u32::from(expected);
    }
    let needed = lab.metric("spillway.prompt.counted=needed");
    assert!((4_000..6_000).contains(&admitted), "{admitted}");
    assert!(needed > 9_000, "{needed}");
}

#[test]
fn prompts_far_from_the_limit_are_not_counted() {
    let (mut dice, mut lab) = (Dice::new(7), lab());
    for case in 0..300 {
        let request = asked(&dice.text(), 100);
        leave(&mut lab, if case % 2 == 0 { 5_000 } else { 20 });
        let call = lab.send(&request);
        assert_eq!(call.reply.is_none(), case % 2 == 0);
    }
    assert_eq!(lab.metric("spillway.prompt.counted=estimate"), 300);
    assert_eq!(lab.metric("spillway.prompt.counted=needed"), 0);
}

/// Asks for a long answer of `text` and has it billed as `input`; answers what the prompt was taken for.
fn billed(lab: &mut Lab, text: &str, input: impl Fn(u64) -> u64) -> u64 {
    let request = message(json!({"messages": [{"role": "user", "content": text}]}));
    let mut call = lab.send(&request);
    let body = json!({"type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "yes"}],
        "usage": {"input_tokens": input(plainly(&request.body[0])), "output_tokens": 50}});
    call.answer(lab, 200, &body.to_string());
    call.record(lab)["estimate"].as_u64().unwrap()
}

/// The estimate of a message without any correction.
fn plainly(body: &[u8]) -> u64 {
    let facts = scan(Endpoint::Messages, body).unwrap();
    tokens::estimate(
        &facts.prompt,
        Model {
            name: "claude",
            tokenizer: Tokenizer::Estimate,
        },
    )
    .tokens()
}

#[test]
fn estimates_follow_what_the_provider_bills() {
    let (mut lab, mut dice) = (
        Lab::new(json!({"limits": [{"name": "t", "per": ["caller"], "tokens": "10M/min"}]})),
        Dice::new(11),
    );
    let mut asked = |lab: &mut Lab, ratio: &dyn Fn(u64) -> u64| {
        let from = dice.roll(4_000);
        let text: String = TEXTS[0].chars().skip(from).take(2_000).collect();
        let plain = plainly(&message(json!({"messages": [{"role": "user", "content": text}]})).body[0]);
        (billed(lab, &text, ratio), plain)
    };
    for _ in 0..6 {
        let _ = asked(&mut lab, &|estimate| estimate * 14 / 10);
    }
    let (taken_for, plain) = asked(&mut lab, &|estimate| estimate);
    assert!(
        taken_for.abs_diff(plain * 14 / 10) * 50 < plain,
        "{taken_for}, plainly {plain}"
    );
}

#[test]
fn what_another_caller_is_billed_corrects_nothing() {
    let mut lab = Lab::new(json!({"limits": [{"name": "t", "per": ["caller"], "tokens": "10M/min"}]}));
    for _ in 0..6 {
        let _ = billed(&mut lab, &TEXTS[0][..2_000], |estimate| estimate * 14 / 10);
    }
    let request = message(json!({"messages": [{"role": "user", "content": &TEXTS[0][..2_000]}]}));
    let other = request.clone().without("x-tenant").with("x-tenant", "other");
    let call = lab.send(&other);
    assert_eq!(call.record(&mut lab)["estimate"], plainly(&request.body[0]));
}

#[test]
fn a_policy_may_have_every_prompt_counted_up_to_a_bound() {
    let exact = json!({"providers": {"openai": {"models": {"gpt-4o": {"count": "exact"}}}}, "bounds": {"exact_count": 1_024}});
    let mut lab = Lab::new(exact);
    let request = asked("four score and seven years ago", 10);
    let call = lab.exchange(&request, 200, &answered("yes", 9, 1));
    let record = call.record(&mut lab);
    assert_eq!(
        (&record["counted"], &record["estimate"]),
        (&json!("asked"), &json!(exactly(&request.body[0])))
    );
    let call = lab.exchange(&asked(&"long ".repeat(300), 10), 200, &answered("yes", 9, 1));
    assert_eq!(call.record(&mut lab)["counted"], "oversize");
    assert_eq!(lab.metric("spillway.prompt.counted=asked"), 1);
    assert_eq!(lab.metric("spillway.prompt.counted=oversize"), 1);
}

#[test]
fn a_context_that_the_estimate_cannot_decide_is_decided_by_the_count() {
    let text = "four score and seven years ago ".repeat(40);
    let request = asked(&text, 10);
    let tokens = exactly(&request.body[0]);
    for (context, fits) in [(tokens, true), (tokens - 1, false)] {
        let models = json!({"gpt-4o": {"tokenizer": "o200k", "context": context}});
        let mut lab = Lab::new(json!({
            "providers": {"openai": {"models": models}},
            "models": {"gpt-4o": {"chain": ["openai/gpt-4o"]}},
        }));
        let call = lab.send(&request);
        assert_eq!(call.reply.is_none(), fits, "{context}");
        assert_eq!(lab.metric("spillway.prompt.counted=needed"), 1);
    }
}

#[test]
fn each_candidate_is_held_to_its_own_context() {
    let text = "four score and seven years ago ".repeat(40);
    for (context, fits) in [(10_000, true), (200, false)] {
        let mut lab = Lab::new(json!({"providers": {
            "openai": {"breaker": {"force": "open"}},
            "backup": {"models": {"gpt-4o": {"tokenizer": "o200k", "context": context}}},
        }}));
        let mut call = lab.send(&asked(&text, 10));
        assert_eq!(call.reply.is_none(), fits, "{context}");
        if !fits {
            let reason = "spillway.fallback.provider=backup.reason=context";
            assert_eq!(lab.metric(reason), 1);
        } else {
            call.answer(&mut lab, 200, &answered("yes", 300, 1));
        }
    }
}

#[test]
fn a_bill_for_what_the_filter_cannot_see_teaches_nothing() {
    let mut lab = Lab::new(json!({"limits": [{"name": "t", "per": ["caller"], "tokens": "10M/min"}]}));
    let text = &TEXTS[0][..2_000];
    let file = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}});
    for _ in 0..6 {
        let content = json!([file, {"type": "text", "text": text}]);
        let request = message(json!({"messages": [{"role": "user", "content": content}]}));
        let mut call = lab.send(&request);
        let body = json!({"type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "yes"}], "usage": {"input_tokens": 9_000, "output_tokens": 50}});
        call.answer(&mut lab, 200, &body.to_string());
    }
    let request = message(json!({"messages": [{"role": "user", "content": text}]}));
    let mut call = lab.send(&request);
    call.answer(&mut lab, 200, &answered("yes", 9, 1));
    assert_eq!(call.record(&mut lab)["estimate"], plainly(&request.body[0]));
}
