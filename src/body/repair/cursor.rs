//! A place in a broken text, and what may stand between two values of it.

use super::{Mend, Mends};

/// Why a value can't be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It was no JSON to begin with: a bracket of prose.
    Prose,
    /// It is broken in a way that has no sure reading.
    Broken,
}

/// A place in a text, and what was mended up to it.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    pub(super) at: usize,
    pub(super) mends: Mends,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str, at: usize) -> Self {
        Self {
            text,
            at,
            mends: Mends::default(),
        }
    }

    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Goes over the next character, and answers it.
    pub(super) fn next(&mut self) -> Result<char, Stop> {
        let next = self.peek().ok_or(Stop::Broken)?;
        self.at += next.len_utf8();
        Ok(next)
    }

    /// Goes over these characters if they come next.
    pub(super) fn eat(&mut self, expected: &str) -> bool {
        let comes = self.rest().starts_with(expected);
        self.at += if comes { expected.len() } else { 0 };
        comes
    }

    /// The characters that come next and belong to a run; it is gone over.
    pub(super) fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let len = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    /// Whether the text ends here, or the fence around it does.
    pub(super) fn at_end(&self) -> bool {
        let rest = self.rest();
        rest.is_empty() || rest.starts_with("```") || rest.starts_with("~~~")
    }

    /// Goes over white space and comments; answers whether a line ended among them.
    pub(super) fn space(&mut self) -> Result<bool, Stop> {
        let mut line = false;
        loop {
            let before = self.at;
            line |= self.run(is_space).contains(['\n', '\r']);
            if !self.run(is_odd_space).is_empty() || ["\\n", "\\r", "\\t"].iter().any(|s| self.eat(s)) {
                self.mends.add(Mend::Space);
            }
            line |= self.comment()?;
            if self.at == before {
                return Ok(line);
            }
        }
    }

    /// Whether what looks like a comment may belong to the string before it: it has a quote that could end it.
    fn may_be_string(&self, comment: &str) -> bool {
        let is_quote = |c| matches!(c, '"' | '\'' | '”' | '’' | '`');
        let before = self.text.get(..self.at).unwrap_or_default();
        let behind_string = before.trim_end_matches([' ', '\t']).ends_with(is_quote);
        let ends_so = comment.trim_end().trim_end_matches(',').ends_with(is_quote);
        ends_so
            || behind_string && comment.contains(is_quote)
            || !comment.matches('"').count().is_multiple_of(2)
    }

    /// A comment to the end of the text may hide its rest, and one with an ellipsis says that something was left out.
    fn comment(&mut self) -> Result<bool, Stop> {
        let rest = self.rest();
        let line = rest.starts_with("//") || rest.starts_with('#');
        let len = match (line, rest.starts_with("/*")) {
            (true, _) => rest.find('\n'),
            (false, true) => rest.find("*/").map(|at| at + 2),
            (false, false) => return Ok(false),
        };
        let comment = len.and_then(|len| rest.get(..len)).ok_or(Stop::Broken)?;
        if comment.contains("...") || comment.contains('…') || self.may_be_string(comment) {
            return Err(Stop::Broken);
        }
        self.at += comment.len();
        self.mends.add(Mend::Comment);
        Ok(line)
    }
}

/// JSON's own white space.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// What looks like white space and isn't JSON's.
pub(super) fn is_odd_space(c: char) -> bool {
    !is_space(c)
        && (c.is_whitespace() && !c.is_control() || matches!(c, '\u{feff}' | '\u{200b}' | '\u{2060}'))
}
