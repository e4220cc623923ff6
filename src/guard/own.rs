//! A policy's own patterns and words.
//!
//! The invariant: everything that is loaded matches in time linear in the text, and no match is longer than what a
//! stream holds back. Patterns are `regex-automata`'s (no look-around, no references back), words an Aho-Corasick
//! automaton; both are in the module already, for schemas.

use aho_corasick::AhoCorasick;
use regex_automata::Input;
use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;

use super::kind::Kind;
use super::scan::{Found, What};
use super::tail::Tail;
use super::text::Text;

/// The longest match of a pattern, and the longest word, in bytes.
pub const LONGEST: usize = 240;
/// A compiled set of patterns.
const PATTERN_BYTES: usize = 1 << 18;
/// All words of a guard.
const WORD_BYTES: usize = 64 << 10;

/// The patterns and words of one guard.
#[derive(Clone, Debug, Default)]
pub struct Own {
    patterns: Option<Regex>,
    words: Option<AhoCorasick>,
    /// How far back from the end of a stream a match may still be incomplete.
    reach: usize,
}

impl Own {
    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_none() && self.words.is_none()
    }

    /// Compiles patterns; none of them makes none.
    ///
    /// # Errors
    /// The index of the pattern that can't be used, and why; the number of patterns when all together are too large.
    pub fn with_patterns(mut self, patterns: &[&str]) -> Result<Self, (usize, String)> {
        if patterns.is_empty() {
            return Ok(self);
        }
        for (index, pattern) in patterns.iter().enumerate() {
            let length = longest(pattern).map_err(|why| (index, why))?;
            self.reach = self.reach.max(length);
        }
        let config = Config::new()
            .nfa_size_limit(Some(PATTERN_BYTES))
            .hybrid_cache_capacity(PATTERN_BYTES);
        let built = Regex::builder()
            .configure(config)
            .syntax(syntax::Config::new())
            .build_many(patterns);
        let regex = built.map_err(|_| (patterns.len(), "compile to more than 256 KiB".to_owned()))?;
        self.patterns = Some(regex);
        Ok(self)
    }

    /// Takes words, which match whole and whatever their case.
    ///
    /// # Errors
    /// The index of the word that can't be used, and why; the number of words when all together are too large.
    pub fn with_words(mut self, words: &[&str]) -> Result<Self, (usize, String)> {
        if words.is_empty() {
            return Ok(self);
        }
        let unfit = words
            .iter()
            .position(|word| word.trim() != *word || !(1..=LONGEST).contains(&word.len()));
        if let Some(index) = unfit {
            return Err((
                index,
                "is empty, has white space around it, or is longer than 240 bytes".to_owned(),
            ));
        }
        let all: Vec<String> = words.iter().flat_map(|word| cases(word)).collect();
        let bytes: usize = words.iter().map(|word| word.len()).sum();
        let fits =
            (bytes <= WORD_BYTES).then(|| AhoCorasick::builder().ascii_case_insensitive(true).build(&all));
        let Some(Ok(automaton)) = fits else {
            return Err((words.len(), "are more than 64 KiB together".to_owned()));
        };
        let longest = all.iter().map(String::len).max().unwrap_or(0);
        self.reach = self.reach.max(longest);
        self.words = Some(automaton);
        Ok(self)
    }

    /// What must stay in sight at the end of a stream: the longest match and a character after it.
    pub(super) fn reach(&self) -> usize {
        self.reach.saturating_add(4)
    }

    /// Finds matches of the patterns that begin at `from` or later, for the rule with this index.
    pub(super) fn patterns(&self, text: Text<'_>, from: usize, rule: usize, found: &mut Vec<Found>) {
        let Some(patterns) = &self.patterns else { return };
        let mut input = Input::new(text.0).range(from.min(text.0.len())..);
        while let Some(hit) = patterns.search(&input) {
            input.set_start(hit.end());
            found.push(find(What::Own(Kind::Pattern, rule), hit.range()));
        }
    }

    /// Finds the words that begin at `from` or later, for the rule with this index.
    pub(super) fn words(&self, text: Text<'_>, from: usize, rule: usize, found: &mut Vec<Found>) {
        let Some(words) = &self.words else { return };
        let input = aho_corasick::Input::new(text.0).range(from.min(text.0.len())..);
        let hits = words
            .find_overlapping_iter(input)
            .filter(|hit| stands_alone(text, hit.range()));
        found.extend(hits.map(|hit| find(What::Own(Kind::Word, rule), hit.range())));
    }
}

fn find(what: What, at: core::ops::Range<usize>) -> Found {
    Found {
        start: at.start,
        end: at.end,
        what,
        tail: Tail::None,
    }
}

/// The length of a pattern's longest match, or why it can't be used.
fn longest(pattern: &str) -> Result<usize, String> {
    let parsed = syntax::parse(pattern);
    let Ok(parsed) = parsed else {
        return Err("isn't a regular expression without look-around and references back".to_owned());
    };
    let properties = parsed.properties();
    if properties.look_set().contains_anchor() {
        return Err("holds ^, $, \\A or \\z: a stream has no lines or ends to hold on to".to_owned());
    }
    if properties.minimum_len() == Some(0) {
        return Err("matches nothing at all".to_owned());
    }
    let length = properties.maximum_len().filter(|length| *length <= LONGEST);
    length.ok_or_else(|| "may match more than 240 bytes; bound its repeats: {1,32} in place of +".to_owned())
}

/// The word, and outside of ASCII, where the automaton doesn't know case, its other ways of writing.
fn cases(word: &str) -> Vec<String> {
    if word.is_ascii() {
        return vec![word.to_owned()];
    }
    let first = word.chars().next().into_iter().flat_map(char::to_uppercase);
    let title = first
        .chain(word.chars().skip(1).flat_map(char::to_lowercase))
        .collect();
    let mut all = vec![word.to_owned(), word.to_lowercase(), word.to_uppercase(), title];
    all.sort();
    all.dedup();
    all
}

/// Whether a word isn't part of a longer one. Only in scripts that put spaces between words.
fn stands_alone(text: Text<'_>, at: core::ops::Range<usize>) -> bool {
    let joins = |one: Option<char>, other: Option<char>| {
        let part = |c: char| c == '_' || (c.is_alphanumeric() && c < '\u{e00}');
        one.is_some_and(part) && other.is_some_and(part)
    };
    let head = text.slice(at.start.saturating_sub(4), at.start);
    let word = text.slice(at.start, at.end);
    let tail = text.slice(at.end, at.end.saturating_add(4));
    !joins(last_char(head), first_char(word)) && !joins(last_char(word), first_char(tail))
}

fn first_char(bytes: &[u8]) -> Option<char> {
    bytes.utf8_chunks().next()?.valid().chars().next()
}

fn last_char(bytes: &[u8]) -> Option<char> {
    let chunk = bytes.utf8_chunks().last()?;
    chunk
        .invalid()
        .is_empty()
        .then(|| chunk.valid().chars().next_back())?
}
