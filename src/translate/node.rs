//! A JSON value as the span of text that it is: looked into where that is needed, handed on as it was written otherwise.
//!
//! The text was checked as a whole by [`Node::parse`], so what is found inside it is well formed.

use std::borrow::Cow;

use super::Untranslatable;
use crate::json::{self, Fault, Lexer, Value};

/// A value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    raw: &'a [u8],
}

impl<'a> Node<'a> {
    /// The value that a whole text is.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Untranslatable> {
        Self::read(text).map_err(|fault| Untranslatable {
            field: "",
            reason: match fault {
                Fault::Syntax { .. } => "the body isn't JSON",
                Fault::TooDeep => "the body is nested too deep",
            },
        })
    }

    fn read(text: &'a [u8]) -> Result<Self, Fault> {
        let mut json = Lexer::new(text);
        let raw = json.span()?;
        json.end()?;
        Ok(Self { raw })
    }

    /// Its text, without the white space around it.
    pub(super) fn raw(self) -> &'a [u8] {
        self.raw
    }

    pub(super) fn is_object(self) -> bool {
        self.raw.first() == Some(&b'{')
    }

    pub(super) fn is_array(self) -> bool {
        self.raw.first() == Some(&b'[')
    }

    /// What a string says.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self.value() {
            Value::String(raw) => Some(json::text(raw)),
            Value::Object | Value::Array | Value::Number(_) | Value::Bool(_) | Value::Null => None,
        }
    }

    /// A number's text.
    pub(super) fn number(self) -> Option<&'a str> {
        match self.value() {
            Value::Number(raw) => core::str::from_utf8(raw).ok(),
            Value::Object | Value::Array | Value::String(_) | Value::Bool(_) | Value::Null => None,
        }
    }

    /// A whole number that isn't negative.
    pub(super) fn unsigned(self) -> Option<u64> {
        json::unsigned(self.raw)
    }

    pub(super) fn boolean(self) -> Option<bool> {
        match self.value() {
            Value::Bool(value) => Some(value),
            Value::Object | Value::Array | Value::String(_) | Value::Number(_) | Value::Null => None,
        }
    }

    /// The members of an object, none for anything else; `null` counts as absent.
    pub(super) fn members(self) -> Members<'a> {
        let mut json = Lexer::new(self.raw);
        let inside = json.value() == Ok(Value::Object);
        Members { json, inside }
    }

    /// The items of an array, none for anything else.
    pub(super) fn items(self) -> Items<'a> {
        let mut json = Lexer::new(self.raw);
        let inside = json.value() == Ok(Value::Array);
        Items { json, inside }
    }

    /// The member of this name that isn't `null`; the last one if there are several.
    pub(super) fn member(self, name: &str) -> Option<Self> {
        self.members()
            .filter_map(|(found, value)| (&*found == name.as_bytes()).then_some(value))
            .last()
    }

    /// What the member of this name says, if it is a string.
    pub(super) fn text_of(self, name: &str) -> Option<Cow<'a, str>> {
        self.member(name).and_then(Self::text)
    }

    fn value(self) -> Value<'a> {
        Lexer::new(self.raw).value().unwrap_or(Value::Null)
    }
}

/// The same, as a request must have it: the wrong type is an error that names `field`.
impl<'a> Node<'a> {
    pub(super) fn need_text(self, field: &'static str) -> Result<Cow<'a, str>, Untranslatable> {
        self.text().ok_or_else(|| must(field, "must be a string"))
    }

    pub(super) fn need_number(self, field: &'static str) -> Result<&'a str, Untranslatable> {
        self.number().ok_or_else(|| must(field, "must be a number"))
    }

    pub(super) fn need_unsigned(self, field: &'static str) -> Result<u64, Untranslatable> {
        self.unsigned()
            .ok_or_else(|| must(field, "must be a whole number"))
    }

    pub(super) fn need_boolean(self, field: &'static str) -> Result<bool, Untranslatable> {
        self.boolean().ok_or_else(|| must(field, "must be true or false"))
    }

    pub(super) fn need_members(self, field: &'static str) -> Result<Members<'a>, Untranslatable> {
        if self.is_object() {
            return Ok(self.members());
        }
        Err(must(field, "must be an object"))
    }

    pub(super) fn need_items(self, field: &'static str) -> Result<Items<'a>, Untranslatable> {
        if self.is_array() {
            return Ok(self.items());
        }
        Err(must(field, "must be an array"))
    }

    /// An object, for handing on as it is.
    pub(super) fn need_object(self, field: &'static str) -> Result<Self, Untranslatable> {
        self.need_members(field).map(|_| self)
    }
}

/// A field that isn't what it must be.
pub(super) fn must(field: &'static str, reason: &'static str) -> Untranslatable {
    Untranslatable { field, reason }
}

/// A member that must be there.
pub(super) fn need<T>(found: Option<T>, field: &'static str) -> Result<T, Untranslatable> {
    found.ok_or_else(|| must(field, "missing"))
}

/// Iterator of [`Node::members`].
pub(super) struct Members<'a> {
    json: Lexer<'a>,
    inside: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, [u8]>, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.inside {
            let name = self.json.member().ok().flatten()?;
            let raw = self.json.span().ok()?;
            if raw != b"null" {
                return Some((json::name(name), Node { raw }));
            }
        }
        None
    }
}

/// Iterator of [`Node::items`].
pub(super) struct Items<'a> {
    json: Lexer<'a>,
    inside: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        if !self.inside || !self.json.item().ok()? {
            return None;
        }
        let raw = self.json.span().ok()?;
        Some(Node { raw })
    }
}
