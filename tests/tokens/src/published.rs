//! How far off the prompt formulas are on every published count that was found.
//!
//! `tests/tokens/published` holds the examples: `# SOURCE`, then for each `> ENDPOINT MODEL TOKENIZER TOKENS ERROR` and on
//! the next line the request without its model, or `> image MODEL DETAIL SIZE TOKENS ERROR` alone. `{{png 1x2}}` stands
//! for an image of that size. Texts are counted exactly, each on its own; where there is no public tokenizer, by
//! estimate.

use crate::corpus;
use crate::encoding::{self, Encoding};
use spillway::dialect::{self, Endpoint};
use spillway::json;
use spillway::policy::Tokenizer;
use spillway::tokens::{self, Detail, Image, Model, Prompt};
use std::error::Error;
use std::fmt::Write;

/// An example, and what we say of it.
pub struct Row {
    source: String,
    what: String,
    ours: i64,
    published: i64,
    allowed: i64,
}

impl Row {
    fn error(&self) -> i64 {
        self.ours - self.published
    }
}

/// The comparison, in Markdown.
pub fn table() -> Result<String, Box<dyn Error>> {
    let mut table = String::new();
    let mut source = String::new();
    for row in rows()? {
        if row.source != source {
            source.clone_from(&row.source);
            write!(
                table,
                "\n{source}\n\n| example | ours | published | error | stated |\n|---|--:|--:|--:|--:|\n"
            )?;
        }
        let (ours, published, error, stated) = (row.ours, row.published, row.error(), row.allowed);
        writeln!(
            table,
            "| {} | {ours} | {published} | {error:+} | {stated} |",
            row.what
        )?;
    }
    Ok(table)
}

/// All examples.
pub fn rows() -> Result<Vec<Row>, Box<dyn Error>> {
    let encodings = encoding::all()?;
    let mut rows = Vec::new();
    for file in corpus::files("published")? {
        let (mut source, mut head) = (String::new(), None);
        let text = std::fs::read_to_string(file)?;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                name.clone_into(&mut source);
            } else if let Some(words) = line.strip_prefix("> ") {
                let words: Vec<&str> = words.split(' ').collect();
                match words.as_slice() {
                    ["image", image @ ..] => rows.push(image_row(&source, image)?),
                    _ => head = Some(words),
                }
            } else if let Some(head) = head.take() {
                rows.push(request_row(&source, &head, line, &encodings)?);
            }
        }
    }
    Ok(rows)
}

fn image_row(source: &str, words: &[&str]) -> Result<Row, Box<dyn Error>> {
    let &[name, detail, size, published, allowed] = words else {
        return Err(format!("{words:?}").into());
    };
    let detail_of = match detail {
        "low" => Detail::Low,
        "high" => Detail::High,
        "auto" => Detail::Auto,
        other => return Err(other.into()),
    };
    let image = Image {
        detail: detail_of,
        size: Some(pixels(size)?),
    };
    let tariff = tokens::tariff::Tariff::of(Model {
        name,
        tokenizer: Tokenizer::O200k,
    });
    Ok(Row {
        source: source.to_owned(),
        what: format!("{name}, {size}, {detail}"),
        ours: i64::try_from(tokens::image::tokens(image, &tariff.images))?,
        published: published.parse()?,
        allowed: allowed.parse()?,
    })
}

fn request_row(
    source: &str,
    head: &[&str],
    body: &str,
    encodings: &[Encoding],
) -> Result<Row, Box<dyn Error>> {
    let &[endpoint, name, tokenizer, published, allowed] = head else {
        return Err(format!("{head:?}").into());
    };
    let endpoint = match endpoint {
        "chat" => Endpoint::ChatCompletions,
        "responses" => Endpoint::Responses,
        "messages" => Endpoint::Messages,
        other => return Err(other.into()),
    };
    let request = with_images(&body.replacen('{', &format!("{{\"model\":\"{name}\","), 1))?;
    let facts =
        dialect::scan(endpoint, request.as_bytes()).map_err(|error| format!("{error:?} in {body}"))?;
    let ours = count(&facts.prompt, name, tokenizer, encodings)?;
    Ok(Row {
        source: source.to_owned(),
        what: format!("{name} `{}`", shortened(body)),
        ours: i64::try_from(ours)?,
        published: published.parse()?,
        allowed: allowed.parse()?,
    })
}

fn count(prompt: &Prompt<'_>, name: &str, word: &str, encodings: &[Encoding]) -> Result<u64, Box<dyn Error>> {
    let Some(encoding) = encodings.iter().find(|encoding| encoding.name.starts_with(word)) else {
        let tokenizer = Tokenizer::Estimate;
        return Ok(tokens::estimate(prompt, Model { name, tokenizer }).tokens());
    };
    let tokenizer = encoding.tokenizer;
    let texts = prompt
        .texts
        .iter()
        .map(|raw| u64::from(encoding.count(&json::text(raw))));
    Ok(texts.sum::<u64>() + tokens::around(prompt, Model { name, tokenizer }))
}

fn pixels(size: &str) -> Result<(u32, u32), Box<dyn Error>> {
    let (width, height) = size.split_once('x').ok_or("WIDTHxHEIGHT")?;
    Ok((width.parse()?, height.parse()?))
}

/// `{{png 1x2}}` as the beginning of such a file.
fn with_images(body: &str) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("{{png ") {
        let (size, after) = after.split_once("}}").ok_or("}}")?;
        let (width, height) = pixels(size)?;
        let header: [&[u8]; 4] = [
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            &width.to_be_bytes(),
            &height.to_be_bytes(),
            &[8; 3],
        ];
        write!(out, "{before}data:image/png;base64,{}", base64(&header.concat()))?;
        rest = after;
    }
    Ok(out + rest)
}

/// Of whole groups of three bytes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |three: &[u8]| three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
    let digits = bytes
        .chunks_exact(3)
        .map(bits)
        .flat_map(|bits| [18, 12, 6, 0].map(|by| bits >> by & 63));
    digits
        .filter_map(|digit| DIGITS.get(digit))
        .map(|digit| char::from(*digit))
        .collect()
}

fn shortened(body: &str) -> String {
    const ENDS: usize = 50;
    let characters: Vec<char> = body.replace('|', "/").chars().collect();
    if characters.len() <= 2 * ENDS {
        return characters.into_iter().collect();
    }
    let (head, tail) = (
        characters.iter().take(ENDS),
        characters.iter().skip(characters.len() - ENDS),
    );
    head.chain(&[' ', '…', ' ']).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_count_is_met_as_closely_as_stated() {
        let rows = rows().unwrap();
        assert!(rows.len() > 100, "{}", rows.len());
        for row in &rows {
            let closer = row.allowed == row.error().abs();
            assert!(
                closer,
                "{}: {} is {:+} off, {} is stated",
                row.source,
                row.what,
                row.error(),
                row.allowed
            );
        }
    }

    #[test]
    fn what_the_api_itself_counted_is_met_within_two_tokens() {
        let measured = |row: &&Row| ["API)", "API);"].iter().any(|end| row.source.contains(end));
        let rows = rows().unwrap();
        let measured: Vec<&Row> = rows.iter().filter(measured).collect();
        assert!(measured.len() > 50, "{}", measured.len());
        assert!(measured.iter().all(|row| row.error().abs() <= 2));
        let exact = measured.iter().filter(|row| row.error() == 0).count();
        assert!(exact * 3 >= measured.len() * 2, "{exact} of {}", measured.len());
    }
}
