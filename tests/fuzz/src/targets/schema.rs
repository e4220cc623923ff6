//! Schemas, of operators and of clients, and what is held against them.

use spillway::body::cache::Schemas;
use spillway::body::schema::{Schema, Verdict, Violation, opening_of};

use crate::input::Input;
use crate::truth;

/// A schema is refused with a short reason or judges any text: what it finds valid is JSON that begins as the schema wants it;
/// what fails is told at most eight times, by paths that are bounded; the verdict is the same for a schema from the cache.
pub fn schema(data: &[u8]) {
    let bytes = Input::new(data).rest();
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (source, rest) = bytes.split_at(at);
    let text = String::from_utf8_lossy(rest.get(1..).unwrap_or_default());
    let Some(tree) = truth::value(source) else {
        assert!(Schemas::default().schema(source).is_none());
        return;
    };
    match Schema::compile(&tree) {
        Err(refusal) => assert!(refusal.to_string().len() < 600, "{refusal}"),
        Ok(schema) => {
            let verdict = schema.check(&text);
            judged(&tree, &text, &verdict);
            let cached = Schemas::default().schema(source);
            assert_eq!(cached.map(|cached| cached.check(&text)), Some(verdict));
        }
    }
}

fn judged(tree: &serde_json::Value, text: &str, verdict: &Verdict) {
    match verdict {
        Verdict::Valid => {
            truth::assert_json(text.as_bytes());
            if let Some(first) = opening_of(tree) {
                assert!(text.trim_start().starts_with(first), "{text}");
            }
        }
        Verdict::NotJson => assert!(truth::value(text.as_bytes()).is_none(), "{text}"),
        Verdict::Invalid(found) => {
            assert!((1..=Verdict::MAX_VIOLATIONS).contains(&found.len()));
            assert!(found.iter().all(|one| one.path.len() <= Violation::MAX_PATH + 8));
        }
    }
}
