//! Tools and schemas as the model is shown them: names, descriptions, properties with their types, enumerations.
//!
//! What OpenAI's own counting recipe counts is counted apart (functions, property sets, properties, enumerations); every
//! other string of a schema is text, except those that no provider shows.

use super::prompt::{Found, string};
use crate::json::{self, Fault, Lexer, Value};

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
            self.prompt.functions = self.prompt.functions.saturating_add(1);
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
                b"json_schema" => self.tool(json)?,
                b"schema" => self.schema(json, Place::Root)?,
                b"name" | b"description" => self.content(json)?,
                _ => json.skip()?,
            }
        }
        Ok(matches!(&*json::name(kind), b"json_schema" | b"json_object"))
    }

    fn tool(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Object {
            return json.finish(value);
        }
        while let Some(name) = json.member()? {
            match &*json::name(name) {
                b"function" | b"custom" => self.tool(json)?,
                b"name" | b"description" => self.content(json)?,
                b"parameters" | b"input_schema" | b"schema" => self.schema(json, Place::Root)?,
                b"format" => self.everything(json)?,
                b"vector_store_ids" | b"container" => {
                    self.pinned = true;
                    json.skip()?;
                }
                _ => json.skip()?,
            }
        }
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
            b"properties" => self.properties(json),
            b"enum" => self.enumeration(json),
            _ => self.schema(json, Place::Inside),
        }
    }

    fn properties(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Object {
            return json.finish(value);
        }
        let mut any = false;
        while let Some(name) = json.member()? {
            any = true;
            self.text(json, name);
            self.prompt.properties = self.prompt.properties.saturating_add(1);
            self.schema(json, Place::Inside)?;
        }
        self.prompt.property_sets = self.prompt.property_sets.saturating_add(u32::from(any));
        Ok(())
    }

    fn enumeration(&mut self, json: &mut Lexer<'b>) -> Result<(), Fault> {
        let value = json.value()?;
        if value != Value::Array {
            return json.finish(value);
        }
        self.prompt.enums = self.prompt.enums.saturating_add(1);
        while json.item()? {
            self.prompt.enum_items = self.prompt.enum_items.saturating_add(1);
            self.everything(json)?;
        }
        Ok(())
    }
}
