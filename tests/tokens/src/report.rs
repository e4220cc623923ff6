//! How far off the estimate is on texts that the fit never saw.

use crate::corpus::{self, Text};
use crate::encoding::{self, Encoding};
use spillway::policy::Tokenizer;
use spillway::tokens::text_tokens;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

/// Sizes of the prompts, in bytes, in turn.
const SIZES: [usize; 6] = [200, 1000, 400, 3000, 600, 8000];
/// Sizes of long prompts, which are estimated by samples.
const LONG: [usize; 2] = [20_000, 60_000];

/// Relative errors of the estimate and of bytes/4, and the signed mean of the former.
#[derive(Default)]
struct Errors {
    estimate: Vec<f64>,
    quarter: Vec<f64>,
}

impl Errors {
    fn add(&mut self, prompt: &str, encoding: &Encoding) {
        let exact = f64::from(encoding.count(prompt));
        if exact > 0.0 {
            self.estimate
                .push(estimated(prompt, encoding.tokenizer) / exact - 1.0);
            self.quarter.push(prompt.len() as f64 / 4.0 / exact - 1.0);
        }
    }

    fn take(&mut self, other: &Self) {
        self.estimate.extend(&other.estimate);
        self.quarter.extend(&other.quarter);
    }
}

fn estimated(prompt: &str, tokenizer: Tokenizer) -> f64 {
    let raw = corpus::escape(prompt);
    text_tokens(&[raw.as_bytes()], tokenizer) as f64
}

/// The report, in Markdown.
pub fn table() -> Result<String, Box<dyn Error>> {
    let texts = corpus::load("held-out")?;
    let encodings = encoding::all()?;
    let mut table = String::from(
        "| text | prompts | o200k mean | p95 | bias | bytes/4 mean | p95 | cl100k mean | p95 | bias | bytes/4 mean | p95 |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let [one, other] = encodings.each_ref().map(|encoding| by_kind(&texts, encoding));
    for ((kind, o200k), cl100k) in one.iter().zip(other.values()) {
        writeln!(
            table,
            "| {kind} | {} | {} | {} |",
            o200k.estimate.len(),
            cells(o200k),
            cells(cl100k)
        )?;
    }
    Ok(table)
}

/// By kind, then all of them, then the long ones.
fn by_kind(texts: &[Text], encoding: &Encoding) -> BTreeMap<String, Errors> {
    let mut kinds: BTreeMap<String, Errors> = BTreeMap::new();
    for text in texts {
        let errors = kinds.entry(text.kind.clone()).or_default();
        corpus::cut(&text.text, &SIZES)
            .iter()
            .for_each(|prompt| errors.add(prompt, encoding));
    }
    let mut all = Errors::default();
    kinds.values().for_each(|errors| all.take(errors));
    kinds.insert("~ all of these".into(), all);
    kinds.insert("~ long, by samples".into(), long(texts, encoding));
    kinds
}

/// Long prompts: the texts of a kind joined, and the texts of all kinds joined, cut into large pieces.
fn long(texts: &[Text], encoding: &Encoding) -> Errors {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for text in texts {
        joined.entry(&text.kind).or_default().push_str(&text.text);
        joined.entry("~").or_default().push_str(&text.text);
    }
    let mut errors = Errors::default();
    for text in joined.values().filter(|text| text.len() > 8000) {
        corpus::cut(text, &LONG)
            .iter()
            .for_each(|prompt| errors.add(prompt, encoding));
    }
    errors
}

fn cells(errors: &Errors) -> String {
    let bias = errors.estimate.iter().sum::<f64>() / errors.estimate.len() as f64;
    let [(mean, p95), (quarter_mean, quarter_p95)] =
        [&errors.estimate, &errors.quarter].map(|all| summary(all));
    format!(
        "{:.1} % | {:.1} % | {:+.1} % | {:.1} % | {:.1} %",
        mean * 100.0,
        p95 * 100.0,
        bias * 100.0,
        quarter_mean * 100.0,
        quarter_p95 * 100.0
    )
}

/// Mean and 95th percentile of the absolute errors.
fn summary(errors: &[f64]) -> (f64, f64) {
    let mut all: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    all.sort_by(f64::total_cmp);
    let p95 = all.get(all.len() * 95 / 100).copied().unwrap_or_default();
    (all.iter().sum::<f64>() / all.len() as f64, p95)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_texts_are_estimated_within_eight_percent() {
        let texts = corpus::load("held-out").unwrap();
        for encoding in encoding::all().unwrap() {
            let kinds = by_kind(&texts, &encoding);
            let mean = |kind: &str| summary(&kinds[kind].estimate).0;
            assert!(
                mean("~ all of these") <= 0.08,
                "{}: {}",
                encoding.name,
                mean("~ all of these")
            );
            assert!(
                mean("~ long, by samples") <= 0.08,
                "{}: {}",
                encoding.name,
                mean("~ long, by samples")
            );
        }
    }
}
