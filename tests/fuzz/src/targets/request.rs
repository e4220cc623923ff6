//! Request bodies in every dialect: the scan, and all that is made of what it found.

use spillway::dialect::{
    Call, Edits, Endpoint, RequestFacts, Said, ScanError, corrected, fitted, rewrite, scan, wanted,
};
use spillway::moderation;
use spillway::policy::Tokenizer;
use spillway::tokens;

use crate::input::Input;
use crate::truth;

/// All that have bodies.
pub(crate) const ENDPOINTS: [Endpoint; 6] = [
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Embeddings,
    Endpoint::Responses,
    Endpoint::Messages,
    Endpoint::GenerateContent,
];

/// What members a policy may say that a model refuses.
const REFUSED: [&str; 4] = ["temperature", "max_tokens", "top_p_with_temperature", "stop"];

/// What is scanned is a JSON object, whole and in UTF-8; what is refused as no JSON is none. Texts are parts of the body
/// and overlap nowhere. A rewritten body reads as the same request but for the model and the usage asked for; what is
/// fitted or corrected is JSON and can be scanned.
pub fn request(data: &[u8]) {
    let mut input = Input::new(data);
    let endpoint = input.pick(&ENDPOINTS);
    let body = input.rest();
    match scan(endpoint, body) {
        Ok(facts) => {
            truth::assert_json(body);
            estimated(&facts, body);
            rewritten(&facts, body);
            changed(endpoint, body);
            let text = moderation::prompt(endpoint, &facts, 300).unwrap_or_default();
            assert!(text.len() <= 300);
        }
        Err(ScanError::NotJson { at }) => {
            assert!(at <= body.len());
            assert!(!truth::is_json(body), "{}", String::from_utf8_lossy(body));
        }
        Err(_) => {}
    }
    if let Ok(wanted) = wanted(endpoint, body) {
        let kept: usize = wanted
            .tools
            .iter()
            .filter_map(|tool| tool.schema)
            .map(<[u8]>::len)
            .sum();
        assert!(kept <= body.len());
    }
}

fn estimated(facts: &RequestFacts<'_>, body: &[u8]) {
    let texts = &facts.prompt.texts;
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    assert!(bytes <= body.len(), "texts overlap");
    let (least, most) = tokens::bounds(bytes);
    for tokenizer in [Tokenizer::O200k, Tokenizer::Cl100k, Tokenizer::Estimate] {
        let count = tokens::text_tokens(texts, tokenizer);
        assert!((least..=most).contains(&count), "{count} of {bytes} bytes");
        let estimate = tokens::estimate(&facts.prompt, tokenizer);
        assert!(estimate.tokens() >= count.min(estimate.tokens()));
    }
    assert!((1..=2_048).contains(&facts.choices));
    assert!(!facts.model.is_empty() && facts.model.len() <= 256);
}

fn rewritten(facts: &RequestFacts<'_>, body: &[u8]) {
    let edits = Edits {
        model: Some("a \"model\"\\"),
        include_usage: true,
    };
    let Some(out) = rewrite(body, facts, edits) else {
        assert_eq!(facts.model, "a \"model\"\\");
        return;
    };
    truth::assert_json(&out);
    let again = scan(facts.endpoint(), &out);
    let Ok(again) = again else {
        panic!("can't be scanned again: {again:?}");
    };
    assert_eq!(again.model, "a \"model\"\\");
    assert_eq!(
        (
            again.stream,
            again.max_tokens,
            again.choices,
            again.pinned,
            again.structured,
            again.tools
        ),
        (
            facts.stream,
            facts.max_tokens,
            facts.choices,
            facts.pinned,
            facts.structured,
            facts.tools
        )
    );
    assert_eq!(again.prompt.texts, facts.prompt.texts);
}

fn changed(endpoint: Endpoint, body: &[u8]) {
    if let Some(fitted) = fitted(endpoint, body, &REFUSED) {
        truth::assert_json(&fitted.body);
        let again = scan(endpoint, &fitted.body);
        assert!(again.is_ok(), "{again:?}");
    }
    let said = Said {
        text: "words".to_owned(),
        calls: vec![Call {
            name: "tool".to_owned(),
            arguments: "{\"a\": 1}".to_owned(),
        }],
    };
    if let Some(out) = corrected(endpoint, body, &said, "it \"isn't\" valid") {
        truth::assert_json(&out);
        let again = scan(endpoint, &out);
        assert!(again.is_ok(), "{again:?}");
    }
}
