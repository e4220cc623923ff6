//! What an answer says, if it says it plainly.

use serde_json::{Map, Value};

use super::Failure;
use crate::policy::moderation::{Ask, Category};

/// A verdict is some hundred bytes; more than this is none.
const LARGEST: usize = 256 << 10;
/// Categories that are repeated, and the bytes of each.
const MOST: usize = 8;
const LONGEST: usize = 48;

/// What somebody outside said of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It breaks the policy.
    pub flagged: bool,
    /// What it breaks: at most 8, of at most 48 plain characters each.
    pub categories: Vec<String>,
    /// Tokens that the verdict cost, prompt and output, where a model gave it.
    pub tokens: Option<(u64, u64)>,
}

/// Reads the answer to a question: its status, none when the connection broke, and its body.
///
/// # Errors
/// When it is no verdict.
pub fn verdict(ask: &Ask, status: Option<u16>, body: &[u8]) -> Result<Verdict, Failure> {
    match status {
        None => return Err(Failure::Reset),
        // What hosts answer by themselves when the time is over.
        Some(504) if body.len() < 1_024 => return Err(Failure::Timeout),
        Some(200..=299) => {}
        Some(_) => return Err(Failure::Status),
    }
    if body.len() > LARGEST {
        return Err(Failure::Garbage);
    }
    let said: Value = serde_json::from_slice(body).map_err(|_| Failure::Garbage)?;
    let read = match ask {
        Ask::Moderation { categories, .. } => moderated(&said, categories),
        Ask::Model { .. } => judged(&said),
        Ask::Http { flagged, category } => pointed(&said, flagged, category.as_deref()),
    };
    read.ok_or(Failure::Garbage)
}

/// The answer of `/v1/moderations`.
fn moderated(said: &Value, wanted: &[Category]) -> Option<Verdict> {
    let results = said.get("results")?.as_array()?;
    let mut verdict = Verdict::default();
    for result in results {
        let found = of_result(result, wanted)?;
        verdict.flagged |= found.flagged;
        verdict.categories.extend(found.categories);
    }
    verdict.categories.sort_unstable();
    verdict.categories.dedup();
    verdict.categories.truncate(MOST);
    (!results.is_empty()).then_some(verdict)
}

fn of_result(result: &Value, wanted: &[Category]) -> Option<Verdict> {
    let flags = result.get("categories").and_then(Value::as_object);
    if wanted.is_empty() {
        return Some(Verdict {
            flagged: result.get("flagged")?.as_bool()?,
            categories: flags.map(raised).unwrap_or_default(),
            tokens: None,
        });
    }
    let mut categories = Vec::new();
    for category in wanted {
        if broken(result, category)? {
            categories.push(category.name.clone());
        }
    }
    Some(Verdict {
        flagged: !categories.is_empty(),
        categories,
        tokens: None,
    })
}

/// Whether a category is broken; none where the answer doesn't say, which is no pass.
fn broken(result: &Value, category: &Category) -> Option<bool> {
    let of = |name: &str| result.get(name)?.get(&category.name);
    match category.threshold {
        Some(threshold) => Some(of("category_scores")?.as_f64()? >= threshold),
        None => of("categories")?.as_bool(),
    }
}

fn raised(flags: &Map<String, Value>) -> Vec<String> {
    let raised = flags.iter().filter(|(_, flag)| **flag == Value::Bool(true));
    raised.take(MOST).map(|(name, _)| plain(name)).collect()
}

/// A second model's answer: a chat completion whose text is the verdict.
fn judged(said: &Value) -> Option<Verdict> {
    let text = said.pointer("/choices/0/message/content")?.as_str()?;
    let verdict: Value = serde_json::from_str(text).ok()?;
    let allowed = verdict.get("allowed")?.as_bool()?;
    let category = verdict
        .get("category")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let count = |name| said.get("usage")?.get(name)?.as_u64();
    Some(Verdict {
        flagged: !allowed,
        categories: named(!allowed, category),
        tokens: count("prompt_tokens").zip(count("completion_tokens")),
    })
}

fn pointed(said: &Value, flagged: &str, category: Option<&str>) -> Option<Verdict> {
    let flagged = said.pointer(flagged)?.as_bool()?;
    let category = category.and_then(|at| said.pointer(at)).and_then(Value::as_str);
    Some(Verdict {
        flagged,
        categories: named(flagged, category.unwrap_or_default()),
        tokens: None,
    })
}

fn named(flagged: bool, category: &str) -> Vec<String> {
    let name = plain(category);
    (flagged && !name.is_empty())
        .then_some(name)
        .into_iter()
        .collect()
}

/// Of what somebody outside wrote, what can stand anywhere.
fn plain(name: &str) -> String {
    let safe = |c: &char| c.is_ascii_alphanumeric() || " _-/.".contains(*c);
    name.chars()
        .filter(safe)
        .take(LONGEST)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Verdict, verdict};
    use crate::moderation::Failure;
    use crate::policy::moderation::{Ask, Category};

    fn moderation(categories: &[(&str, Option<f64>)]) -> Ask {
        let category = |(name, threshold): &(&str, Option<f64>)| Category {
            name: (*name).to_owned(),
            threshold: *threshold,
        };
        Ask::Moderation {
            model: "m".into(),
            categories: categories.iter().map(category).collect(),
        }
    }

    fn model() -> Ask {
        Ask::Model {
            model: "m".into(),
            question: String::new(),
        }
    }

    fn http() -> Ask {
        Ask::Http {
            flagged: "/result/bad".into(),
            category: Some("/result/why".into()),
        }
    }

    fn read(ask: &Ask, body: &Value) -> Result<Verdict, Failure> {
        verdict(ask, Some(200), body.to_string().as_bytes())
    }

    fn result(flagged: bool, hate: f64) -> Value {
        json!({"flagged": flagged, "categories": {"hate": flagged, "violence": false},
            "category_scores": {"hate": hate, "violence": 0.1}})
    }

    #[test]
    fn any_flagged_result_flags_and_names_its_categories() {
        let body = json!({"results": [result(false, 0.0), result(true, 0.9)]});
        let found = read(&moderation(&[]), &body).unwrap();
        assert!(found.flagged);
        assert_eq!(found.categories, ["hate"]);
        assert!(
            !read(&moderation(&[]), &json!({"results": [result(false, 0.9)]}))
                .unwrap()
                .flagged
        );
    }

    #[test]
    fn listed_categories_and_thresholds_decide_instead_of_the_service() {
        let body = json!({"results": [result(true, 0.4)]});
        assert!(!read(&moderation(&[("violence", None)]), &body).unwrap().flagged);
        assert!(read(&moderation(&[("hate", None)]), &body).unwrap().flagged);
        assert!(read(&moderation(&[("hate", Some(0.4))]), &body).unwrap().flagged);
        assert!(!read(&moderation(&[("hate", Some(0.41))]), &body).unwrap().flagged);
    }

    #[test]
    fn a_category_that_the_answer_is_silent_about_is_no_pass() {
        let body = json!({"results": [result(false, 0.0)]});
        assert_eq!(
            read(&moderation(&[("unheard", None)]), &body),
            Err(Failure::Garbage)
        );
        assert_eq!(
            read(&moderation(&[("unheard", Some(0.5))]), &body),
            Err(Failure::Garbage)
        );
    }

    #[test]
    fn a_second_models_verdict_is_its_text_and_its_tokens_are_told() {
        let said = |text: &str| json!({"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 90, "completion_tokens": 8}});
        let found = read(
            &model(),
            &said(r#"{"allowed": false, "category": "tax <advice>"}"#),
        )
        .unwrap();
        assert_eq!(
            found,
            Verdict {
                flagged: true,
                categories: vec!["tax advice".into()],
                tokens: Some((90, 8))
            }
        );
        assert!(
            !read(&model(), &said(r#"{"allowed": true, "category": ""}"#))
                .unwrap()
                .flagged
        );
        for garbage in ["", "allowed", "{}", r#"{"allowed": "yes"}"#, "[]"] {
            assert_eq!(read(&model(), &said(garbage)), Err(Failure::Garbage), "{garbage}");
        }
    }

    #[test]
    fn a_pointed_verdict_is_a_boolean_at_its_place() {
        let found = read(&http(), &json!({"result": {"bad": true, "why": "x\n1"}})).unwrap();
        assert!(found.flagged);
        assert_eq!(found.categories, ["x1"]);
        assert!(!read(&http(), &json!({"result": {"bad": false}})).unwrap().flagged);
        assert_eq!(
            read(&http(), &json!({"result": {"bad": 1}})),
            Err(Failure::Garbage)
        );
    }

    #[test]
    fn everything_else_is_a_failure_of_its_kind() {
        let ask = moderation(&[]);
        let good = json!({"results": [result(false, 0.0)]}).to_string();
        assert!(verdict(&ask, Some(200), good.as_bytes()).is_ok());
        assert_eq!(verdict(&ask, None, b""), Err(Failure::Reset));
        assert_eq!(
            verdict(&ask, Some(504), b"upstream request timeout"),
            Err(Failure::Timeout)
        );
        assert_eq!(verdict(&ask, Some(503), good.as_bytes()), Err(Failure::Status));
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"results": []}"#,
            r#"{"results": [{}]}"#,
            r#"{"results": {"flagged": false}}"#,
        ] {
            assert_eq!(
                verdict(&ask, Some(200), body.as_bytes()),
                Err(Failure::Garbage),
                "{body}"
            );
        }
        let huge = format!("{}{}", good, " ".repeat(super::LARGEST));
        assert_eq!(verdict(&ask, Some(200), huge.as_bytes()), Err(Failure::Garbage));
        let deep = "[".repeat(100_000);
        assert_eq!(verdict(&ask, Some(200), deep.as_bytes()), Err(Failure::Garbage));
    }

    #[test]
    fn what_is_repeated_of_an_answer_is_plain_and_bounded() {
        let many: serde_json::Map<String, Value> = (0..100)
            .map(|n| (format!("\u{202e}{n:03}{}", "x".repeat(500)), Value::Bool(true)))
            .collect();
        let found = read(
            &moderation(&[]),
            &json!({"results": [{"flagged": true, "categories": many}]}),
        )
        .unwrap();
        assert_eq!(found.categories.len(), 8);
        assert!(
            found
                .categories
                .iter()
                .all(|name| name.is_ascii() && name.len() <= 48)
        );
    }
}
