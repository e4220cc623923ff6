//! Providers: where they are, what they speak, what they serve, what they grant us.

use super::breaker::breaker;
use super::error::{list, quote};
use super::field::{Field, Reading, Section};
use super::limit;
use super::names::{self, MODEL, PLAIN};
use super::secret;
use super::types::{
    Accepted, Breaker, CountWhen, Price, Provider, ProviderDialect, ProviderModel, Tokenizer,
};
use crate::tokens::exact::Encoding;

/// The providers, in the order of their names.
pub(super) fn providers(field: &Field<'_>, r: &mut Reading<'_>) -> Vec<Provider> {
    let entries = field.entries(r, "a map of providers");
    if entries.is_empty() && field.tree().is_object() {
        field.refuse(r, "is empty", "at least one provider");
    }
    entries
        .iter()
        .map(|(name, field)| provider(name, field, r))
        .collect()
}

const FIELDS: [&str; 10] = [
    "cluster",
    "dialect",
    "api_version",
    "authority",
    "path_prefix",
    "credential",
    "include_usage",
    "models",
    "breaker",
    "limits",
];
const DIALECTS: [(&str, ProviderDialect); 4] = [
    ("openai", ProviderDialect::OpenAi),
    ("anthropic", ProviderDialect::Anthropic),
    ("gemini", ProviderDialect::Gemini),
    ("azure", ProviderDialect::Azure),
];
const VERSION: &str = "a version of Azure's API such as 2024-10-21";
pub(super) const AUTHORITY: &str = "a host name, with a port if need be, such as api.openai.com";
const PREFIX: &str = "a path that begins with /, without query, such as /openai";

/// A provider as far as it can be read, so that chains to it are judged even if something else of it is wrong.
fn provider(name: &str, field: &Field<'_>, r: &mut Reading<'_>) -> Provider {
    if !names::is_provider(name) {
        field.refuse(
            r,
            format!("{} can't be a provider's name", quote(name)),
            names::PROVIDER,
        );
    }
    let s = field.section(r, &FIELDS);
    let cluster = s.require("cluster", r, "the name of one of Envoy's clusters");
    let cluster = cluster
        .and_then(|f| f.parsed(r, PLAIN, names::plain))
        .unwrap_or_default();
    let dialect = s
        .require("dialect", r, "openai, anthropic, gemini, azure")
        .and_then(|f| f.choice(r, &DIALECTS));
    let dialect = dialect.unwrap_or(ProviderDialect::OpenAi);
    let models = s.require("models", r, "a map of the models it serves");
    Provider {
        name: name.to_owned(),
        cluster: cluster.to_owned(),
        dialect,
        api_version: api_version(&s, dialect, r),
        authority: s.get("authority").and_then(|f| f.parsed(r, AUTHORITY, authority)),
        path_prefix: s.or("path_prefix", String::new(), |f| f.parsed(r, PREFIX, path_prefix)),
        credential: s
            .get("credential")
            .and_then(|f| secret::credential(&f, dialect, r)),
        include_usage: s.or("include_usage", true, |f| f.flag(r)),
        models: models
            .map(|f| provider_models(&f, dialect, r))
            .unwrap_or_default(),
        breaker: s.get("breaker").map_or_else(Breaker::default, |f| breaker(&f, r)),
        limits: s
            .get("limits")
            .map(|f| limit::granted(name, &f, r))
            .unwrap_or_default(),
    }
}

/// Required by Azure and refused for the others.
fn api_version(s: &Section<'_>, dialect: ProviderDialect, r: &mut Reading<'_>) -> String {
    let field = match dialect {
        ProviderDialect::Azure => s.require("api_version", r, VERSION),
        ProviderDialect::OpenAi | ProviderDialect::Anthropic | ProviderDialect::Gemini => {
            if let Some(field) = s.get("api_version") {
                field.refuse(r, "belongs to azure only", "no such field");
            }
            None
        }
    };
    let text = field.and_then(|f| f.parsed(r, VERSION, version));
    text.unwrap_or_default()
}

fn version(text: &str) -> Option<String> {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(safe);
    fits.then(|| text.to_owned())
}

pub(super) fn authority(text: &str) -> Option<String> {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]".contains(&b);
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(safe);
    fits.then(|| text.to_owned())
}

fn path_prefix(text: &str) -> Option<String> {
    let odd = |b: u8| !matches!(b, 0x21..=0x7e) || matches!(b, b'?' | b'#');
    let fits = text.starts_with('/') && text.len() <= 1_024 && !text.bytes().any(odd);
    fits.then(|| text.trim_end_matches('/').to_owned())
}

fn provider_models(field: &Field<'_>, dialect: ProviderDialect, r: &mut Reading<'_>) -> Vec<ProviderModel> {
    let entries = field.entries(r, "a map of the models it serves");
    if entries.is_empty() && field.tree().is_object() {
        field.refuse(r, "is empty", "at least one model");
    }
    entries
        .iter()
        .map(|(name, field)| provider_model((name, field), dialect, r))
        .collect()
}

const TOKENIZERS: [(&str, Tokenizer); 3] = [
    ("o200k", Tokenizer::O200k),
    ("cl100k", Tokenizer::Cl100k),
    ("estimate", Tokenizer::Estimate),
];

const COUNTINGS: [(&str, CountWhen); 2] = [
    ("when_needed", CountWhen::WhenNeeded),
    ("exact", CountWhen::Exact),
];

/// A promise to count that the build or the tokenizer can't keep is refused.
fn counting(field: &Field<'_>, tokenizer: Tokenizer, r: &mut Reading<'_>) -> Option<CountWhen> {
    let counting = field.choice(r, &COUNTINGS)?;
    if counting == CountWhen::Exact && Encoding::of(tokenizer).is_none() {
        let wrong = match tokenizer {
            Tokenizer::Estimate => "needs a tokenizer that is public",
            Tokenizer::O200k | Tokenizer::Cl100k => {
                "needs a table that this build of the module doesn't have"
            }
        };
        let built_in: Vec<&str> = TOKENIZERS
            .iter()
            .filter(|(_, t)| Encoding::of(*t).is_some())
            .map(|(name, _)| *name)
            .collect();
        let allowed = format!("when_needed; exact with a tokenizer of: {}", list(&built_in));
        field.refuse(r, wrong, allowed);
        return None;
    }
    Some(counting)
}

fn provider_model(
    (name, field): (&str, &Field<'_>),
    dialect: ProviderDialect,
    r: &mut Reading<'_>,
) -> ProviderModel {
    if !names::is_model(name) {
        field.refuse(r, format!("{} can't be a model's name", quote(name)), MODEL);
    }
    let s = field.section(
        r,
        &["tokenizer", "count", "context", "price", "refuses", "accepts"],
    );
    let tokenizer = s.or("tokenizer", Tokenizer::default(), |f| f.choice(r, &TOKENIZERS));
    ProviderModel {
        name: name.to_owned(),
        tokenizer,
        count: s.or("count", CountWhen::default(), |f| counting(&f, tokenizer, r)),
        context: s.get("context").and_then(|f| f.whole(r, 1..=1_000_000_000)),
        price: s.get("price").and_then(|f| price(&f, r)),
        refuses: s
            .get("refuses")
            .map(|f| refuses(&f, dialect, r))
            .unwrap_or_default(),
        accepts: s
            .get("accepts")
            .map(|f| accepts(&f, dialect, r))
            .unwrap_or_default(),
    }
}

/// What models are known to refuse.
const REFUSABLE: [&str; 18] = [
    "temperature",
    "top_p",
    "top_p_with_temperature",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "stop",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "thinking",
    "max_tokens",
    "max_completion_tokens",
];

fn refuses(field: &Field<'_>, dialect: ProviderDialect, r: &mut Reading<'_>) -> Vec<&'static str> {
    let words = REFUSABLE.map(|word| (word, word));
    let items = field.items(r, &format!("a list of {}", list(&REFUSABLE)));
    let named: Vec<&str> = items.iter().filter_map(|item| item.choice(r, &words)).collect();
    let bounds = named.iter().filter(|word| word.starts_with("max_")).count();
    match dialect {
        ProviderDialect::Anthropic | ProviderDialect::Gemini if bounds > 0 => {
            field.refuse(
                r,
                "has a bound on the output that has one name there",
                "neither max_ name",
            );
        }
        ProviderDialect::OpenAi | ProviderDialect::Azure if bounds > 1 => {
            field.refuse(
                r,
                "leaves no name for a bound on the output",
                "one of the two max_ names",
            );
        }
        ProviderDialect::OpenAi
        | ProviderDialect::Anthropic
        | ProviderDialect::Gemini
        | ProviderDialect::Azure => {}
    }
    named
}

fn accepts(field: &Field<'_>, dialect: ProviderDialect, r: &mut Reading<'_>) -> Accepted {
    let mut accepted = Accepted::default();
    let words: &[(&str, bool)] = match dialect {
        ProviderDialect::Anthropic => &[("effort", false), ("schema", true)],
        ProviderDialect::OpenAi | ProviderDialect::Gemini | ProviderDialect::Azure => &[("effort", false)],
    };
    for item in field.items(r, "a list of effort; of anthropic's models also schema") {
        match item.choice(r, words) {
            Some(true) => accepted.schema = true,
            Some(false) => accepted.effort = true,
            None => {}
        }
    }
    accepted
}

fn price(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Price> {
    const DOLLARS: &str = "US$ per million tokens, from 0 to 1000000";
    let s = field.section(r, &["input", "cached_input", "output"]);
    let dollars = |f: Field<'_>, r: &mut Reading<'_>| f.number(r, DOLLARS, |d| (0.0..=1e6).contains(&d));
    let input = s.require("input", r, DOLLARS).and_then(|f| dollars(f, r));
    let output = s.require("output", r, DOLLARS).and_then(|f| dollars(f, r));
    let cached_input = s.get("cached_input").and_then(|f| dollars(f, r));
    Some(Price {
        input: input?,
        cached_input,
        output: output?,
    })
}
