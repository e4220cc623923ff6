//! Which strings of a body are texts, in any of the protocols.
//!
//! All are but those that a protocol gives a meaning of its own: what isn't known is looked at rather than passed over.

use crate::guard::Written;
use crate::json::{self, Fault, Lexer, Value};

/// What the value of a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Texts, and objects of the protocol with texts in them.
    Plain,
    /// Somebody's own data: every string is a text, its names too.
    Free,
    /// A string, items, or somebody's own object.
    Input,
    /// A string that is JSON, or somebody's own object.
    Arguments,
    /// An address, or an image's data.
    Url,
    /// The text once more, token by token.
    Logprobs,
    /// Of an image or a file, or the words of a document.
    Data,
    /// No text.
    Opaque,
}

impl Sort {
    /// That of a member with this name, decoded.
    pub(super) fn of(self, name: &[u8]) -> Self {
        match name {
            _ if self == Self::Free => Self::Free,
            b"arguments" | b"partial_json" => Self::Arguments,
            b"input" | b"metadata" | b"args" => Self::Input,
            b"url" | b"image_url" => Self::Url,
            b"logprobs" | b"top_logprobs" => Self::Logprobs,
            b"data" => Self::Data,
            b"id"
            | b"model"
            | b"object"
            | b"type"
            | b"role"
            | b"status"
            | b"finish_reason"
            | b"stop_reason"
            | b"system_fingerprint"
            | b"service_tier"
            | b"signature"
            | b"encrypted_content"
            | b"obfuscation"
            | b"b64_json"
            | b"file_data"
            | b"media_type"
            | b"mime_type" => Self::Opaque,
            name if name.ends_with(b"_id") => Self::Opaque,
            _ => Self::Plain,
        }
    }

    /// That of the members of an object which is itself of this sort.
    fn inside(self) -> Self {
        match self {
            Self::Free | Self::Input | Self::Arguments => Self::Free,
            Self::Plain | Self::Url | Self::Data | Self::Logprobs | Self::Opaque => Self::Plain,
        }
    }

    /// That of the items of an array which is itself of this sort.
    fn each(self) -> Self {
        match self {
            Self::Input => Self::Plain,
            Self::Plain
            | Self::Free
            | Self::Arguments
            | Self::Url
            | Self::Data
            | Self::Logprobs
            | Self::Opaque => self,
        }
    }

    pub(super) fn written(self) -> Written {
        match self {
            Self::Arguments => Written::AsJson,
            Self::Plain
            | Self::Free
            | Self::Input
            | Self::Url
            | Self::Data
            | Self::Logprobs
            | Self::Opaque => Written::Plainly,
        }
    }
}

/// A string of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'b> {
    /// Its content, a part of the body.
    pub(super) raw: &'b [u8],
    pub(super) written: Written,
}

/// The texts of a body, in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts<'b> {
    pub(super) texts: Vec<Text<'b>>,
    /// Values that repeat a text token by token.
    pub(super) logprobs: Vec<&'b [u8]>,
}

impl<'b> Texts<'b> {
    /// Reads a complete body.
    pub(super) fn of(body: &'b [u8]) -> Result<Self, Fault> {
        let mut json = Lexer::new(body);
        let mut found = Self::default();
        found.value(&mut json, Sort::Plain)?;
        json.end()?;
        Ok(found)
    }

    /// Reads the next value.
    pub(super) fn value(&mut self, json: &mut Lexer<'b>, sort: Sort) -> Result<(), Fault> {
        match sort {
            Sort::Opaque => json.skip(),
            Sort::Logprobs => {
                let span = json.span()?;
                let empty = matches!(span, b"null" | b"[]" | b"{}");
                self.logprobs.extend((!empty).then_some(span));
                Ok(())
            }
            Sort::Plain | Sort::Free | Sort::Input | Sort::Arguments | Sort::Url | Sort::Data => {
                self.open(json, sort)
            }
        }
    }

    fn open(&mut self, json: &mut Lexer<'b>, sort: Sort) -> Result<(), Fault> {
        match json.value()? {
            Value::String(raw) => self.text(raw, sort),
            Value::Array => {
                while json.item()? {
                    self.value(json, sort.each())?;
                }
            }
            Value::Object => {
                let inside = sort.inside();
                while let Some(name) = json.member()? {
                    if inside == Sort::Free {
                        self.text(name, inside);
                    }
                    self.value(json, inside.of(&json::name(name)))?;
                }
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
        Ok(())
    }

    pub(super) fn text(&mut self, raw: &'b [u8], sort: Sort) {
        let image = match sort {
            Sort::Url => raw.starts_with(b"data:"),
            Sort::Data => raw.iter().all(is_base64),
            Sort::Plain | Sort::Free | Sort::Input | Sort::Arguments | Sort::Logprobs | Sort::Opaque => false,
        };
        if !raw.is_empty() && !image {
            self.texts.push(Text {
                raw,
                written: sort.written(),
            });
        }
    }
}

/// Whether a byte may stand in base64, as JSON writes it.
fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=-_\\".contains(byte)
}

/// Whether a request goes on with a conversation that its provider keeps.
pub(super) fn continues(body: &[u8]) -> bool {
    let mut json = Lexer::new(body);
    if !matches!(json.value(), Ok(Value::Object)) {
        return false;
    }
    while let Ok(Some(name)) = json.member() {
        let Ok(value) = json.span() else { return false };
        let keeps = matches!(&*json::name(name), b"previous_response_id" | b"conversation");
        if keeps && value != b"null" {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::Texts;

    fn texts(body: &str) -> Vec<String> {
        let found = Texts::of(body.as_bytes()).unwrap();
        let own = |raw: &[u8]| String::from_utf8(raw.to_vec()).unwrap();
        found.texts.iter().map(|text| own(text.raw)).collect()
    }

    #[test]
    fn what_has_a_meaning_of_its_own_is_no_text() {
        let body =
            r#"{"id":"1","model":"m","call_id":"c","content":[{"type":"text","text":"a"}],"user":"u"}"#;
        assert_eq!(texts(body), ["a", "u"]);
        let body = r#"{"image_url":{"url":"data:image/png;base64,x"},"url":"https://x"}"#;
        assert_eq!(texts(body), ["https://x"]);
    }

    #[test]
    fn in_somebodys_own_data_everything_is() {
        let body = r#"{"input":{"id":"1","to":{"type":"t"}},"metadata":{"user_id":"a"}}"#;
        assert_eq!(texts(body), ["id", "1", "to", "type", "t", "user_id", "a"]);
        assert_eq!(texts(r#"{"input":[{"type":"message","content":"a"}]}"#), ["a"]);
        assert_eq!(
            texts(r#"{"arguments":"{\"a\":1}","args":{"k":"v"}}"#),
            [r#"{\"a\":1}"#, "k", "v"]
        );
    }
}
