//! Human review: which exchanges people are to look at, and what they are sent of them.
//!
//! The invariant: nobody waits for it, and texts go along only where the policy asks for samples.

use serde_json::{Value, json};

use crate::moderation::{Side, Verdict};
use crate::policy::Mode;
use crate::policy::moderation::{Review, ReviewWhen};
use crate::report::Record;
use crate::report::metric::{Checked, Metric, Posted};
use crate::store::Store;

use super::Turn;
use super::errand::{Errand, ErrandKind, Question, call};

/// More of a text isn't posted, in bytes.
pub(super) const LONGEST_SAMPLE: usize = 16 << 10;

/// What a post says of an exchange that may be over when it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) caller: String,
    pub(super) endpoint: &'static str,
    pub(super) model: String,
    pub(super) provider: String,
}

impl Facts {
    /// Of an exchange with this id.
    pub(super) fn of(id: &str, record: &Record) -> Self {
        Self {
            id: id.to_owned(),
            caller: record.caller.clone(),
            endpoint: record.endpoint,
            model: record.model.clone(),
            provider: record.provider.clone(),
        }
    }

    fn to_json(&self) -> Value {
        json!({"id": self.id, "caller": self.caller, "endpoint": self.endpoint, "model": self.model,
            "provider": self.provider})
    }
}

/// The texts of an exchange, as far as they are kept for review.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) prompt: Option<String>,
    pub(super) answer: Option<String>,
}

/// The beginning of a text, as much as is posted.
pub(super) fn sample(text: &str) -> String {
    let end = text.floor_char_boundary(LONGEST_SAMPLE);
    text.get(..end).unwrap_or_default().to_owned()
}

/// At the end of an exchange: posts it, if the policy has a reason to.
pub(super) fn consider<S: Store>(turn: &mut Turn<'_, S>, record: &mut Record, (id, texts): (&str, Samples)) {
    let gateway = turn.gateway;
    let Some(review) = &gateway.policy.review else {
        return;
    };
    let why = review
        .when
        .iter()
        .filter(|when| applies(**when, review, (record, turn.entropy)));
    record.review = why.map(|when| when.as_str()).collect();
    if record.review.is_empty() {
        return;
    }
    let mut body = Facts::of(id, record).to_json();
    if let Value::Object(members) = &mut body {
        members.extend(told(record));
        let texts = [("prompt", texts.prompt), ("answer", texts.answer)];
        let texts = texts.into_iter().filter(|_| review.samples);
        members.extend(texts.filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?)))));
        members.insert("time_ms".to_owned(), turn.now.wall.0.into());
    }
    post(turn, review, &body);
}

/// What else is known of an exchange at its end.
fn told(record: &Record) -> Vec<(String, Value)> {
    let fields = [
        ("why", json!(record.review)),
        ("stream", json!(record.stream)),
        ("status", json!(record.status)),
        ("refused", json!(record.refused)),
        ("validation", json!(record.validation)),
        ("moderation", json!(record.moderation)),
        ("guards", json!(record.guards)),
        ("end", json!(record.end)),
    ];
    let said = |value: &Value| !value.is_null() && value != "" && *value != json!([]);
    let fields = fields.into_iter().filter(|(_, value)| said(value));
    fields.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn applies(when: ReviewWhen, review: &Review, (record, entropy): (&Record, u64)) -> bool {
    let bad = [Checked::Invalid, Checked::NotJson, Checked::Empty].map(Checked::as_str);
    match when {
        ReviewWhen::Flagged => record.moderation.iter().any(|said| said.verdict == "flagged"),
        ReviewWhen::Guard => !record.guards.is_empty(),
        ReviewWhen::Invalid => bad.contains(&record.validation),
        ReviewWhen::Sampled => entropy % 1_000_000 < u64::from(review.share),
    }
}

/// Posts what a question beside its exchange came to.
pub(super) fn post_flagged<S: Store>(
    turn: &mut Turn<'_, S>,
    question: Question,
    found: &Verdict,
    name: &str,
) {
    let gateway = turn.gateway;
    let Some(review) = &gateway.policy.review else {
        return;
    };
    let mut body = question.facts.to_json();
    let said = json!({"name": name, "side": question.side.as_str(), "verdict": "flagged", "categories": found.categories});
    if let Value::Object(members) = &mut body {
        members.insert("why".to_owned(), json!([ReviewWhen::Flagged.as_str()]));
        members.insert("moderation".to_owned(), json!([said]));
        members.insert("time_ms".to_owned(), turn.now.wall.0.into());
        let name = match question.side {
            Side::Request => "prompt",
            Side::Answer => "answer",
        };
        let text = question.sample.filter(|_| review.samples);
        members.extend(text.map(|text| (name.to_owned(), Value::from(text))));
    }
    post(turn, review, &body);
}

fn post<S: Store>(turn: &mut Turn<'_, S>, review: &Review, body: &Value) {
    if turn.in_shadow() || review.mode == Mode::Shadow {
        turn.count(Metric::Review(Posted::Shadow));
        return;
    }
    let body = serde_json::to_vec(body).unwrap_or_default();
    turn.effects.errands.push(Errand {
        call: call((0, &review.to), body, review.timeout),
        kind: ErrandKind::Post,
    });
}
