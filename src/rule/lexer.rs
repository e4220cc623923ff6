//! An expression's words.

use super::error::RuleError;

/// One word, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Number(f64),
    Text(String),
    Name(String),
    Mark(&'static str),
    End,
}

/// Longer marks first.
const MARKS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "?", ":", "(", ")", "[", "]", ".", ",", "+", "-", "*",
    "/", "%", "{", "}",
];

/// The words of an expression, the end last.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, RuleError> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = source.get(at..).unwrap_or_default();
        let blank = rest.len().saturating_sub(rest.trim_start().len());
        at = at.saturating_add(blank);
        let (kind, len) = token(rest.trim_start(), at)?;
        let end = kind == Kind::End;
        found.push(Token { at, kind });
        if end {
            return Ok(found);
        }
        at = at.saturating_add(len);
    }
}

fn token(rest: &str, at: usize) -> Result<(Kind, usize), RuleError> {
    match rest.chars().next() {
        None => Ok((Kind::End, 0)),
        Some('0'..='9') => number(rest, at),
        Some(quote @ ('"' | '\'')) => text(rest, quote, at),
        Some(c) if c.is_ascii_alphabetic() || c == '_' => {
            let len = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            Ok((Kind::Name(rest.get(..len).unwrap_or_default().to_owned()), len))
        }
        Some(c) => match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            Some(mark) => Ok((Kind::Mark(mark), mark.len())),
            None => Err(RuleError::new(
                at,
                format!("{c:?} means nothing"),
                "names, numbers, text in quotes, operators",
            )),
        },
    }
}

fn number(rest: &str, at: usize) -> Result<(Kind, usize), RuleError> {
    let belongs = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let len = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    let written = rest.get(..len).unwrap_or_default();
    match written.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((Kind::Number(number), len)),
        Ok(_) | Err(_) => Err(RuleError::new(
            at,
            format!("{written:?} is no number"),
            "a number, such as 20 or 0.5",
        )),
    }
}

fn text(rest: &str, quote: char, at: usize) -> Result<(Kind, usize), RuleError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Kind::Text(text), offset.saturating_add(1))),
            '\\' => match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, escaped @ ('\\' | '"' | '\''))) => text.push(escaped),
                Some(_) | None => {
                    let at = at.saturating_add(offset);
                    return Err(RuleError::new(
                        at,
                        "this escape means nothing",
                        r#"\n, \t, \\, \", \'"#,
                    ));
                }
            },
            _ => text.push(c),
        }
    }
    Err(RuleError::new(at, "the text isn't closed", quote))
}
