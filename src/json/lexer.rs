//! Pulling values out of a complete JSON text, in order, without a tree.
//!
//! The caller follows the structure it knows and skips the rest; every byte that was passed is known to be well formed.
//! No text nests deeper than [`MAX_DEPTH`], so a caller may recurse along with it.

use super::find;
use super::number::Number;

/// Containers inside one another: what `serde_json` and most providers allow, and one `u128` can remember.
pub const MAX_DEPTH: u32 = 128;

/// Why a text can't be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not JSON at this byte (or ended there).
    Syntax {
        /// Offset from the start of the text.
        at: usize,
    },
    /// More than [`MAX_DEPTH`] containers inside one another.
    TooDeep,
}

/// The next value, or the beginning of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'b> {
    /// An object begins: read it with [`Lexer::member`] until that answers none.
    Object,
    /// An array begins: read it with [`Lexer::item`] until that answers false.
    Array,
    /// The content between the quotes, still escaped.
    String(&'b [u8]),
    /// The number's text.
    Number(&'b [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// A reader of a complete text. After a [`Fault`] it is of no further use.
#[derive(Clone, Debug)]
pub struct Lexer<'b> {
    bytes: &'b [u8],
    at: usize,
    depth: u32,
    /// A container has just begun: no comma before its first value.
    fresh: bool,
}

impl<'b> Lexer<'b> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
            fresh: false,
        }
    }

    /// How many bytes are read.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Containers that are open here.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Reads a scalar, or enters a container.
    ///
    /// # Errors
    /// When no value comes next, or it lies too deep.
    pub fn value(&mut self) -> Result<Value<'b>, Fault> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.enter().map(|()| Value::Object),
            Some(b'[') => self.enter().map(|()| Value::Array),
            Some(b't') => self.literal(b"true").map(|()| Value::Bool(true)),
            Some(b'f') => self.literal(b"false").map(|()| Value::Bool(false)),
            Some(b'n') => self.literal(b"null").map(|()| Value::Null),
            Some(_) | None => self.number().map(Value::Number),
        }
    }

    /// Reads the next member's name (still escaped) in the object entered last; none leaves the object.
    /// Its value must be read next.
    ///
    /// # Errors
    /// When neither a member nor the object's end comes next.
    pub fn member(&mut self) -> Result<Option<&'b [u8]>, Fault> {
        if !self.another(b'}')? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.fault());
        }
        let name = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// Whether another item follows in the array entered last; false leaves the array. The item must be read next.
    ///
    /// # Errors
    /// When neither a comma nor the array's end comes next.
    pub fn item(&mut self) -> Result<bool, Fault> {
        self.another(b']')
    }

    /// Reads a whole value, however deep within the bound, without recursion.
    ///
    /// # Errors
    /// As [`Lexer::value`].
    pub fn skip(&mut self) -> Result<(), Fault> {
        let outside = self.depth;
        let value = self.value()?;
        self.rest_of(value, outside)
    }

    /// Reads a whole value and answers its text, without the white space around it.
    ///
    /// # Errors
    /// As [`Lexer::value`].
    pub fn span(&mut self) -> Result<&'b [u8], Fault> {
        self.peek();
        let start = self.at;
        self.skip()?;
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// Reads on to the end of `value`, which was just answered by [`Lexer::value`].
    ///
    /// # Errors
    /// As [`Lexer::value`].
    pub fn finish(&mut self, value: Value<'b>) -> Result<(), Fault> {
        match value {
            Value::Object | Value::Array => self.rest_of(value, self.depth.saturating_sub(1)),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => Ok(()),
        }
    }

    /// Holds that nothing but white space is left.
    ///
    /// # Errors
    /// When something is.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault()),
        }
    }

    /// `kinds` has one bit for each container entered here, the innermost lowest: 1 for an object.
    fn rest_of(&mut self, value: Value<'b>, outside: u32) -> Result<(), Fault> {
        let mut kinds = push(0, value);
        loop {
            while self.depth > outside && !self.more(kinds)? {
                kinds >>= 1;
            }
            if self.depth <= outside {
                return Ok(());
            }
            kinds = push(kinds, self.value()?);
        }
    }

    fn more(&mut self, kinds: u128) -> Result<bool, Fault> {
        if kinds & 1 == 1 {
            self.member().map(|name| name.is_some())
        } else {
            self.item()
        }
    }

    fn another(&mut self, end: u8) -> Result<bool, Fault> {
        let next = self.peek();
        if next == Some(end) {
            self.at += 1;
            self.depth = self.depth.saturating_sub(1);
            self.fresh = false;
            return Ok(false);
        }
        if self.fresh {
            return Ok(true);
        }
        if next != Some(b',') {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(true)
    }

    fn enter(&mut self) -> Result<(), Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.at += 1;
        self.depth += 1;
        self.fresh = true;
        Ok(())
    }

    fn string(&mut self) -> Result<&'b [u8], Fault> {
        self.at += 1;
        self.fresh = false;
        let start = self.at;
        loop {
            let run = find::string_special(self.rest()).ok_or_else(|| self.fault_at(self.bytes.len()))?;
            self.at += run;
            match self.rest() {
                [b'"', ..] => {
                    let content = self.bytes.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(content);
                }
                [b'\\', escape @ ..] => self.at += 1 + escape_len(escape).ok_or_else(|| self.fault())?,
                _ => return Err(self.fault()),
            }
        }
    }

    fn number(&mut self) -> Result<&'b [u8], Fault> {
        let start = self.at;
        let mut rest = self.rest().iter();
        let mut state = rest
            .next()
            .and_then(|b| Number::start(*b))
            .ok_or_else(|| self.fault())?;
        self.at += 1;
        while let Some(next) = rest.next().and_then(|b| state.next(*b)) {
            state = next;
            self.at += 1;
        }
        if !state.complete() {
            return Err(self.fault());
        }
        self.fresh = false;
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.rest().starts_with(word) {
            return Err(self.fault());
        }
        self.at += word.len();
        self.fresh = false;
        Ok(())
    }

    /// The next byte that isn't white space; the reader stands at it.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn rest(&self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn fault(&self) -> Fault {
        self.fault_at(self.at)
    }

    fn fault_at(&self, at: usize) -> Fault {
        Fault::Syntax { at }
    }
}

fn push(kinds: u128, value: Value<'_>) -> u128 {
    match value {
        Value::Object => kinds << 1 | 1,
        Value::Array => kinds << 1,
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => kinds,
    }
}

/// The length of a string's content, of whose text `bytes` begin after its opening quote: up to the closing one. None when
/// it has none, or isn't well formed.
#[must_use]
pub fn content_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += find::string_special(bytes.get(at..)?)?;
        match bytes.get(at..)? {
            [b'"', ..] => return Some(at),
            [b'\\', escape @ ..] => at += 1 + escape_len(escape)?,
            _ => return None,
        }
    }
}

/// Length of an escape after its backslash.
fn escape_len(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(1),
        [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|h| h.is_ascii_hexdigit()) => Some(5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Lexer, MAX_DEPTH, Value};

    fn whole(text: &[u8]) -> Result<(), Fault> {
        let mut json = Lexer::new(text);
        json.skip()?;
        json.end()
    }

    /// Texts that tell a strict reader from a lax one; the judge is `serde_json`.
    const TEXTS: &[&str] = &[
        "{}",
        "[]",
        " [ ] ",
        "[1]",
        "[1,2]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{1:2}",
        "{a:1}",
        "\"\\u00e9\"",
        "\"\\u00g9\"",
        "\"\\x\"",
        "\"a\nb\"",
        "\"",
        "\"\\",
        "01",
        "-",
        "-0",
        "-01",
        "1.",
        "1.5",
        ".5",
        "1e",
        "1e+",
        "1e+5",
        "1E-05",
        "+1",
        "tru",
        "true",
        "truex",
        "nul",
        "null ",
        "{} {}",
        "",
        " ",
        "[[]",
        "[]]",
        "{\"a\":[{\"b\":{}}]}",
        "[}",
        "{]",
        "[1}",
        "{\"a\":1]",
        "[\"a\":1]",
        "{\"a\":[1,{\"b\":\"c\"},null,-1.5e3]}",
        "NaN",
        "Infinity",
        "'a'",
        "/**/1",
        "[true,false,null]",
        "{\"a\" : 1 , \"b\":[ ] }",
    ];

    #[test]
    fn accepts_what_serde_json_accepts_and_nothing_else() {
        for text in TEXTS {
            let judged = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            assert_eq!(whole(text.as_bytes()).is_ok(), judged, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        for unit in ["[", "{\"a\":"] {
            assert_eq!(whole(unit.repeat(10_000).as_bytes()), Err(Fault::TooDeep));
        }
        let deep = "[".repeat(MAX_DEPTH as usize) + &"]".repeat(MAX_DEPTH as usize);
        assert_eq!(whole(deep.as_bytes()), Ok(()));
    }

    #[test]
    fn members_and_items_come_in_order() {
        let mut json = Lexer::new(br#" {"a":[1,"x"], "b":{"c":null}} "#);
        assert_eq!(json.value(), Ok(Value::Object));
        assert_eq!(json.member(), Ok(Some(&b"a"[..])));
        assert_eq!(json.value(), Ok(Value::Array));
        assert_eq!((json.item(), json.value()), (Ok(true), Ok(Value::Number(b"1"))));
        assert_eq!((json.item(), json.value()), (Ok(true), Ok(Value::String(b"x"))));
        assert_eq!(json.item(), Ok(false));
        assert_eq!(json.member(), Ok(Some(&b"b"[..])));
        assert_eq!(json.span(), Ok(&br#"{"c":null}"#[..]));
        assert_eq!((json.member(), json.end()), (Ok(None), Ok(())));
    }

    #[test]
    fn a_strings_content_ends_where_the_reader_ends_it() {
        for text in TEXTS.iter().filter(|text| text.starts_with('"')) {
            let mut json = Lexer::new(text.as_bytes());
            let read = json.value().ok().map(|_| json.offset() - 2);
            assert_eq!(super::content_len(&text.as_bytes()[1..]), read, "{text}");
        }
        assert_eq!(super::content_len(br#"a\"b" , "c""#), Some(4));
    }

    #[test]
    fn a_fault_names_its_byte() {
        assert_eq!(whole(b"{\"a\":tru}"), Err(Fault::Syntax { at: 5 }));
        assert_eq!(whole(b"[\"abc"), Err(Fault::Syntax { at: 5 }));
    }
}
