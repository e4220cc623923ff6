//! What stands around an answer: whether it may be dropped.
//!
//! The danger is to take for prose what was a part of the answer, and for the answer what was a part of it. So
//! brackets that don't match, names of members and lists that go on aren't prose.

use super::cursor::{is_odd_space, is_space};
use super::reader::Found;
use super::{Mend, Mends};
use crate::json::{self, Lexer, Value};

/// Tags that models put around what they think before they answer.
const THINKING: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// The text behind what was only thought; none when the thinking never ends.
pub(super) fn after_thinking(text: &str) -> Option<&str> {
    let begun = text.trim_start_matches(|c| is_space(c) || is_odd_space(c));
    for (open, close) in THINKING {
        if begun.starts_with(open) {
            return begun.rsplit_once(close).map(|(_, answer)| answer);
        }
    }
    Some(text)
}

/// What a text says that is as a whole a JSON string, or that was escaped like the inside of one.
pub(super) fn unescaped(text: &str) -> Option<String> {
    let trimmed = text.trim_matches(is_space);
    let mut json = Lexer::new(trimmed.as_bytes());
    if let Ok(Value::String(raw)) = json.value()
        && json.end().is_ok()
    {
        return Some(json::text(raw).into_owned());
    }
    let open = trimmed.find(['{', '['])?;
    let inside = trimmed
        .get(open..)?
        .trim_start_matches(['{', '['])
        .trim_start_matches(is_space);
    let inside = inside.trim_start_matches("\\n").trim_start_matches(is_space);
    if !inside.starts_with("\\\"") {
        return None;
    }
    // Nothing but escapes and characters that an escaped text may hold: then it reads as one string.
    let quoted = format!(
        "\"{}\"",
        trimmed
            .replace('\n', "\\n")
            .replace('\r', "\\r")
            .replace('\t', "\\t")
    );
    let mut json = Lexer::new(quoted.as_bytes());
    match json.value() {
        Ok(Value::String(raw)) if json.end().is_ok() => Some(json::text(raw).into_owned()),
        Ok(_) | Err(_) => None,
    }
}

/// The next bracket that may begin an answer.
pub(super) fn bracket(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.find(['{', '[']).map(|at| from + at)
}

/// Where prose goes on after a bracket that begins no JSON; none unless it is closed before any other.
pub(super) fn after_bracketed(text: &str, open: usize) -> Option<usize> {
    let rest = text.get(open..)?;
    let close = if rest.starts_with('{') { '}' } else { ']' };
    let inside = rest.get(1..)?;
    let at = inside.find(['{', '}', '[', ']'])?;
    let is_plain = inside.get(at..)?.starts_with(close) && !names_a_member(inside.get(..at)?);
    is_plain.then_some(open + 1 + at + 1)
}

/// A stretch of text around candidates, and what stands at its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// A value ended right before it: with this bracket, which may come again when nothing came before.
    after: Option<char>,
    extra: bool,
    quoted: bool,
    last: bool,
}

impl Segment {
    /// Behind no value: the one that the text begins with, or between brackets of prose.
    pub(super) fn inside() -> Self {
        Self {
            after: None,
            extra: false,
            quoted: false,
            last: false,
        }
    }

    /// Behind a value.
    pub(super) fn after(found: &Found) -> Self {
        let close = found.bytes.last().map(|byte| char::from(*byte));
        Self {
            after: close,
            extra: found.begins_text && !found.goes_on,
            quoted: found.mends.has(Mend::InnerQuotes),
            ..Self::inside()
        }
    }

    /// The same, known to be the text's last.
    pub(super) fn last(self) -> Self {
        Self { last: true, ..self }
    }

    /// What dropping it mends; none when it may belong to an answer.
    pub(super) fn judge(self, segment: &str) -> Option<Mends> {
        let mut mends = Mends::default();
        let text = self.without_extra(segment, &mut mends);
        let quotes = text.matches('"').count();
        if !quotes.is_multiple_of(2) || self.quoted && quotes > 0 {
            return None;
        }
        if text.contains(['}', ']']) || names_a_member(text) || text.contains(is_control) {
            return None;
        }
        // A quote at its end may end a string of which the value was only the beginning.
        if self.after.is_some() && text.trim_end().ends_with('"') {
            return None;
        }
        if self.after.is_some() && continues(text) || !self.last && leads_on(text) {
            return None;
        }
        mends.join(kind(text));
        Some(mends)
    }

    /// Brackets too many, right behind an object that the text begins with and before its end. Not behind an array (there
    /// the one that opens may be missing), and not where one of those inside may be the one too many.
    fn without_extra<'s>(self, segment: &'s str, mends: &mut Mends) -> &'s str {
        let Some(close) = self
            .after
            .filter(|close| *close == '}' && self.extra && self.last)
        else {
            return segment;
        };
        let rest = segment.trim_start_matches(|c| c == close || is_space(c));
        if segment
            .get(..segment.len() - rest.len())
            .is_some_and(|cut| cut.contains(close))
        {
            mends.add(Mend::Extra);
            return rest;
        }
        segment
    }
}

/// What dropping a harmless stretch of text is called.
fn kind(segment: &str) -> Mends {
    let mut mends = Mends::default();
    if segment.contains(is_odd_space) {
        mends.add(Mend::Space);
    }
    let text = segment.trim_matches(|c| is_space(c) || is_odd_space(c));
    let fence = text.trim_start_matches(['`', '~']);
    if text.is_empty() {
        return mends;
    }
    let is_fence = fence.len() < text.len() && fence.chars().all(char::is_alphanumeric);
    mends.add(if is_fence { Mend::Fence } else { Mend::Prose });
    mends
}

fn is_control(c: char) -> bool {
    c.is_control() && !is_space(c)
}

/// Whether a quote stands right before a colon, as behind a member's name.
fn names_a_member(text: &str) -> bool {
    let mut quote = false;
    for c in text.chars() {
        match c {
            '"' | '\'' | '”' => quote = true,
            ':' | '：' if quote => return true,
            _ => quote = quote && is_space(c),
        }
    }
    false
}

/// Whether what follows a value may belong to what the value is a part of.
fn continues(text: &str) -> bool {
    let adjacent = |c: char| c.is_alphanumeric() || matches!(c, '"' | '\'' | '\\' | '_');
    if text.starts_with(adjacent) {
        return true;
    }
    let behind = text.trim_start_matches(is_space);
    match behind.strip_prefix([',', '，']) {
        Some(list) => !list.trim_start_matches(is_space).starts_with(char::is_alphabetic),
        None => behind.starts_with([':', '：']),
    }
}

/// Whether what stands before a value ends like a list that goes on in it.
fn leads_on(text: &str) -> bool {
    let before = text.trim_end_matches(is_space);
    let list = before
        .strip_suffix([',', '，'])
        .map(|list| list.trim_end_matches(is_space));
    list.is_some_and(|list| list.is_empty() || list.ends_with(|c: char| !c.is_alphabetic()))
}
