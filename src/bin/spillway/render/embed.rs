//! The policy inside another document: its own text where that can stand there, comments and all.

use serde_json::Value;

use super::yaml;
use crate::source;

/// A policy's text, ready to stand elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Embedded {
    /// The comment that it begins with, without `#`, line by line.
    pub(super) head: Vec<String>,
    /// The rest, as a block.
    pub(super) block: String,
}

/// The text that makes `document`; its tree where the text can't be moved (JSON, several documents, anchors).
pub(super) fn embed(text: &str, document: &Value) -> Embedded {
    let (head, rest) = split_head(text);
    let rest = if holds_ambiguous(document) {
        rest.lines().map(quoted).collect::<Vec<_>>().join("\n") + "\n"
    } else {
        rest.to_owned()
    };
    let same = source::yaml(&rest).as_ref() == Ok(document);
    let block = match same && moves(&rest) {
        true => rest.trim_end().to_owned() + "\n",
        false => yaml::block(document),
    };
    Embedded { head, block }
}

/// The comment at the very beginning, up to the first line that is none.
fn split_head(text: &str) -> (Vec<String>, &str) {
    let text = text.trim_start_matches('\u{feff}');
    let text = text.strip_prefix("---\n").unwrap_or(text);
    let mut rest = text;
    let mut head = Vec::new();
    while let Some(line) = rest.lines().next().and_then(|line| line.strip_prefix('#')) {
        head.push(line.trim_end().to_owned());
        rest = rest.split_once('\n').map_or("", |(_, after)| after);
    }
    match rest.starts_with('\n') || !head.is_empty() {
        true => (head, rest.trim_start_matches('\n')),
        false => (head, rest),
    }
}

/// A block in block style without anchors, which might be ours too, and without marks of documents.
fn moves(text: &str) -> bool {
    let starts_block = !text.trim_start().starts_with(['{', '[', '%']);
    let marks = text
        .lines()
        .any(|line| line.starts_with("---") || line.starts_with("...") || line.contains('\t'));
    starts_block && !marks && !text.contains('&')
}

/// Whether a key or a text is a word that some readers take for a truth value where it isn't in quotes.
fn holds_ambiguous(value: &Value) -> bool {
    match value {
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| yaml::is_ambiguous(key) || holds_ambiguous(value)),
        Value::Array(items) => items.iter().any(holds_ambiguous),
        Value::String(text) => yaml::is_ambiguous(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The line with such words in quotes, wherever one stands alone as a key or a value. The caller reads the result again:
/// what this gets wrong isn't used.
fn quoted(line: &str) -> String {
    let (code, comment) = line.split_at(line.find(" #").unwrap_or(line.len()));
    let mut out = String::new();
    let mut before = '{';
    for (at, word) in words(code) {
        let after = code.get(at + word.len()..).unwrap_or_default().trim_start();
        let alone = matches!(before, '{' | '[' | ',' | ':' | '-') && is_end(after);
        match alone && yaml::is_ambiguous(word) {
            true => out.push_str(&format!("\"{word}\"")),
            false => out.push_str(word),
        }
        before = word.trim_end().chars().last().unwrap_or(before);
    }
    out + comment
}

fn is_end(after: &str) -> bool {
    after.is_empty() || after.starts_with([',', ']', '}', ':'])
}

/// The line cut before and after each run of word characters, each piece with its place.
fn words(line: &str) -> Vec<(usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in line.char_indices() {
        if last.is_some_and(|last| last != is_word(c)) {
            pieces.push((start, line.get(start..at).unwrap_or_default()));
            start = at;
        }
        last = Some(is_word(c));
    }
    pieces.push((start, line.get(start..).unwrap_or_default()));
    pieces
}

#[cfg(test)]
mod tests {
    use super::embed;
    use crate::source;

    fn embedded(text: &str) -> (Vec<String>, String) {
        let document = source::yaml(text).unwrap();
        let embedded = embed(text, &document);
        assert_eq!(source::yaml(&embedded.block), Ok(document));
        (embedded.head, embedded.block)
    }

    #[test]
    fn a_text_is_moved_with_its_comments_and_its_head_stands_apart() {
        let text = "# What it is.\n#\n# More.\n\nversion: 1 # one\n\n# two\nhost: {body_pause: true}\n\n";
        let (head, block) = embedded(text);
        assert_eq!(head, [" What it is.", "", " More."]);
        assert_eq!(block, "version: 1 # one\n\n# two\nhost: {body_pause: true}\n");
    }

    #[test]
    fn what_cannot_be_moved_is_written_anew() {
        for text in ["{\"version\": 1}", "a: &x 1\nb: *x\n", "a: 1\n...\n"] {
            let (_, block) = embedded(text);
            assert!(!block.contains(['&', '*']) && !block.contains("..."), "{block}");
        }
        assert_eq!(embedded("---\nversion: 1").1, "version: 1\n");
    }

    #[test]
    fn words_that_some_readers_take_for_truth_values_are_put_in_quotes() {
        let text = "failover: {on: [503], via: native} # on: all\nx:\n  on:\n    - off\n  y: no\n";
        let expected = "failover: {\"on\": [503], via: native} # on: all\nx:\n  \"on\":\n    - \"off\"\n  \"y\": \"no\"\n";
        assert_eq!(embedded(text).1, expected);
        // Already in quotes, and within longer texts.
        let text = "'on': a\nb: turn it on now\n";
        assert_eq!(embedded(text).1, text);
    }

    #[test]
    fn a_word_that_cannot_be_told_by_its_line_is_told_by_the_tree() {
        let text = "a: |\n  on\nb: on\n";
        assert_eq!(embedded(text).1, "a: \"on\\n\"\nb: \"on\"\n");
    }
}
