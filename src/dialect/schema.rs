//! Tools and schemas as the model is shown them: names, descriptions, properties with their types, enumerations.
//!
//! Declarations become TypeScript: what its punctuation depends on is counted apart, every string but those that no
//! provider shows is text. A format's schema is shown as the JSON that it is.

use super::prompt::{Found, string};
use crate::json::{self, Fault, Lexer, Value};
use crate::tokens::tariff;

/// What of a format's schema isn't shown.
const HIDDEN: &[&[u8]] = &[b"required", b"additionalProperties", b"$schema"];

/// Where in a schema an object stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Its own `type` is always `object` and never shown.
    Root,
    Inside,
}

impl<'b> Found<'b> {
    /// An array of tools or functions; answers whether there is any.
    pub(super) fn tools(&mut self, json: &mut Lexer<'b>) -> Result<bool, Fault> {
        let value = json.value()?;
        if value != Value::Array {
            json.finish(value)?;
            return Ok(false);
        }
        let mut any = false;
        while json.item()? {
            any = true;
            count(&mut self.prompt.tools.functions);
            self.tool(json)?;
        }
        Ok(any)
    }

    /// A wanted format of the answer; answers whether it is JSON.
    pub(super) fn format(&mut self, json: &mut Lexer<'b>) -> Result<bool, Fault> {
        let value = json.value()?;
        if value != Value::Object {
            json.finish(value)?;
            return Ok(false);
        }
        let mut kind: &[u8] = b"";
        while let Some(name) = json.member()? {
            match &*json::name(name) {
                b"type" => string(json, &mut kind)?,
                b"json_schema" => self.named_schema(json)?,
                b"schema" => self.shown_schema(json)?,
                b"name" | b"description" => self.content(json)?,
                _ => json.skip()?,
            }
        }
        Ok(matches!(&*json::name(kind), b"json_schema" | b"json_object"))
    }

    fn named_schema(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Object {
            return json.finish(value);
        }
        while let Some(name) = json.member()? {
            match &*json::name(name) {
                b"schema" => self.shown_schema(json)?,
                b"name" | b"description" => self.content(json)?,
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    fn shown_schema(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        count(&mut self.prompt.formats);
        self.shown(json, HIDDEN)
    }

    fn tool(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Object {
            return json.finish(value);
        }
        while let Some(name) = json.member()? {
            match &*json::name(name) {
                b"function" | b"custom" => self.tool(json)?,
                b"type" => self.kind(json)?,
                b"name" => self.content(json)?,
                b"description" => self.description(json)?,
                b"parameters" | b"input_schema" => self.schema(json, Place::Root)?,
                b"format" => self.shown(json, &[])?,
                b"vector_store_ids" | b"container" => {
                    self.pinned = true;
                    json.skip()?;
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    /// A tool's type: some are defined by their provider.
    fn kind(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let mut kind: &[u8] = b"";
        string(json, &mut kind)?;
        let provided = &mut self.prompt.tools.provided;
        *provided = provided.saturating_add(tariff::provided(&json::name(kind)));
        Ok(())
    }

    fn schema(&mut self, json: &mut Lexer<'b>, place: Place) -> Result<(), Fault> {
        match json.value()? {
            Value::String(raw) => self.text(json, raw),
            Value::Array => {
                while json.item()? {
                    self.schema(json, Place::Inside)?;
                }
            }
            Value::Object => {
                while let Some(name) = json.member()? {
                    self.keyword(json, &json::name(name), place)?;
                }
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
        Ok(())
    }

    fn keyword(&mut self, json: &mut Lexer<'b>, keyword: &[u8], place: Place) -> Result<(), Fault> {
        match keyword {
            b"type" if place == Place::Root => json.skip(),
            b"required" | b"$schema" | b"$id" | b"$ref" => json.skip(),
            b"properties" => self.properties(json, place),
            b"description" => self.description(json),
            b"enum" => self.enumeration(json),
            _ => self.schema(json, Place::Inside),
        }
    }

    fn description(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let before = self.prompt.texts.len();
        self.content(json)?;
        if self.prompt.texts.len() > before {
            count(&mut self.prompt.tools.descriptions);
        }
        Ok(())
    }

    fn properties(&mut self, json: &mut Lexer<'b>, place: Place) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Object {
            return json.finish(value);
        }
        let mut any = false;
        while let Some(name) = json.member()? {
            any = true;
            self.text(json, name);
            count(&mut self.prompt.tools.properties);
            self.schema(json, Place::Inside)?;
        }
        match place {
            Place::Root if any => count(&mut self.prompt.tools.parameters),
            Place::Inside if any => count(&mut self.prompt.tools.nested),
            Place::Root | Place::Inside => {}
        }
        Ok(())
    }

    fn enumeration(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Array {
            return json.finish(value);
        }
        count(&mut self.prompt.tools.enums);
        while json.item()? {
            count(&mut self.prompt.tools.enum_items);
            match json.value()? {
                Value::String(raw) | Value::Number(raw) => self.text(json, raw),
                other @ (Value::Object | Value::Array | Value::Bool(_) | Value::Null) => {
                    json.finish(other)?
                }
            }
        }
        Ok(())
    }
}

fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
