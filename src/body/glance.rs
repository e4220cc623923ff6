//! A first look at an answer: says yes to what surely matches its schema, without building anything of it.
//!
//! Most answers match, and most schemas are made of a few plain keywords. Those are read along with the text. The invariant:
//! a yes is the engine's yes too. Anything else, even where a no would be certain, means only that the engine must
//! look.

use serde_json::Value as Source;

use super::verdict::Extent;
use crate::json::{self, Lexer, Value};

/// Members that are known by name; required ones are marked in a word of so many bits.
const MOST_MEMBERS: usize = 64;
/// Schemas inside one another.
const DEEPEST: usize = 32;
/// Numbers of more digits are for those who know how large a number is.
const LONGEST_NUMBER: usize = 16;
/// Bounds of numbers are whole and no larger, so that they compare exactly with fractions too.
const LARGEST_BOUND: u64 = 1 << 53;

const NULL: u8 = 1;
const BOOLEAN: u8 = 1 << 1;
const INTEGER: u8 = 1 << 2;
const NUMBER: u8 = 1 << 3;
const STRING: u8 = 1 << 4;
const ARRAY: u8 = 1 << 5;
const OBJECT: u8 = 1 << 6;
const ANY: u8 = 0xff;

/// A schema that can be read along with a text.
#[derive(Debug)]
pub(super) struct Glance {
    /// Kinds of values that it allows.
    kinds: u8,
    /// What a string must be one of.
    words: Option<Vec<Box<str>>>,
    /// Characters of a string, items of an array: at least, at most.
    length: (usize, usize),
    count: (usize, usize),
    /// A number's.
    least: Option<i64>,
    most: Option<i64>,
    items: Option<Box<Glance>>,
    members: Vec<(Box<str>, Glance)>,
    /// A bit for each of the members that must be there.
    required: u64,
    others: Others,
}

/// Members of other names.
#[derive(Debug)]
enum Others {
    Anything,
    Nothing,
    Like(Box<Glance>),
}

impl Glance {
    /// None when the schema says more than can be read along.
    pub(super) fn of(schema: &Source) -> Option<Self> {
        let mut schema = schema.clone();
        // What it may be is the same in all drafts.
        if let Some(members) = schema.as_object_mut() {
            members.remove("$schema");
        }
        Self::within(&schema, DEEPEST)
    }

    /// Whether a text is JSON, nests no deeper than an answer may, and matches.
    pub(super) fn accepts(&self, text: &str) -> bool {
        let mut json = Lexer::new(text.as_bytes());
        self.meets(&mut json).is_some() && json.end().is_ok()
    }

    fn anything() -> Self {
        Self {
            kinds: ANY,
            words: None,
            length: (0, usize::MAX),
            count: (0, usize::MAX),
            least: None,
            most: None,
            items: None,
            members: Vec::new(),
            required: 0,
            others: Others::Anything,
        }
    }

    fn within(schema: &Source, depth: usize) -> Option<Self> {
        let mut glance = Self::anything();
        let keywords = match schema {
            Source::Bool(true) => return Some(glance),
            Source::Object(keywords) => keywords,
            _ => return None,
        };
        let depth = depth.checked_sub(1)?;
        for (keyword, value) in keywords {
            glance.keyword(keyword, value, depth)?;
        }
        glance.require(keywords.get("required"))?;
        Some(glance)
    }

    fn keyword(&mut self, keyword: &str, value: &Source, depth: usize) -> Option<()> {
        match keyword {
            "title" | "description" | "default" | "examples" | "$comment" | "deprecated" | "required" => {}
            "type" => self.kinds = kinds(value)?,
            "enum" if self.words.is_none() => self.words = Some(words(value.as_array()?)?),
            "const" if self.words.is_none() => self.words = Some(words(core::slice::from_ref(value))?),
            "minimum" => self.least = Some(bound(value)?),
            "maximum" => self.most = Some(bound(value)?),
            "minLength" => self.length.0 = size(value)?,
            "maxLength" => self.length.1 = size(value)?,
            "minItems" => self.count.0 = size(value)?,
            "maxItems" => self.count.1 = size(value)?,
            "items" => self.items = Some(Box::new(Self::within(value, depth)?)),
            "properties" => self.members = members(value, depth)?,
            "additionalProperties" => self.others = others(value, depth)?,
            _ => return None,
        }
        Some(())
    }

    fn require(&mut self, names: Option<&Source>) -> Option<()> {
        for name in names.map_or(Some(&Vec::new()), Source::as_array)? {
            let name = name.as_str()?;
            let at = self.members.iter().position(|(known, _)| **known == *name)?;
            self.required |= bit(at);
        }
        Some(())
    }

    fn meets(&self, json: &mut Lexer<'_>) -> Option<()> {
        match json.value().ok()? {
            Value::Null => self.allows(NULL),
            Value::Bool(_) => self.allows(BOOLEAN),
            Value::Number(raw) => self.number(raw),
            Value::String(raw) => self.string(raw),
            Value::Array => self.array(json),
            Value::Object => self.object(json),
        }
    }

    /// Where only words are allowed, nothing but a string is one.
    fn allows(&self, kind: u8) -> Option<()> {
        (self.kinds & kind != 0 && (self.words.is_none() || kind == STRING)).then_some(())
    }

    fn number(&self, raw: &[u8]) -> Option<()> {
        let text = core::str::from_utf8(raw).ok()?;
        if raw.len() > LONGEST_NUMBER || raw == b"-0" || raw.iter().any(|byte| matches!(byte, b'e' | b'E')) {
            return None;
        }
        if raw.contains(&b'.') {
            self.allows(NUMBER)?;
            return self.fraction(text.parse().ok()?);
        }
        self.allows(NUMBER | INTEGER)?;
        let number: i64 = text.parse().ok()?;
        let fits =
            self.least.is_none_or(|least| least <= number) && self.most.is_none_or(|most| number <= most);
        fits.then_some(())
    }

    /// At a bound itself it hangs on how the fraction is rounded.
    #[expect(clippy::cast_precision_loss, reason = "bounds are small enough to be exact")]
    fn fraction(&self, number: f64) -> Option<()> {
        let above = self.least.is_none_or(|least| number > least as f64);
        let below = self.most.is_none_or(|most| number < most as f64);
        (above && below).then_some(())
    }

    fn string(&self, raw: &[u8]) -> Option<()> {
        self.allows(STRING)?;
        let escaped = json::backslash(raw).is_some();
        if escaped && !is_plainly_escaped(raw) {
            return None;
        }
        if let Some(words) = &self.words {
            return (!escaped && words.iter().any(|word| word.as_bytes() == raw)).then_some(());
        }
        let (least, most) = self.length;
        if least == 0 && raw.len() <= most {
            return Some(());
        }
        let length = characters(raw);
        (least <= length && length <= most).then_some(())
    }

    fn array(&self, json: &mut Lexer<'_>) -> Option<()> {
        self.allows(ARRAY)?;
        is_shallow(json)?;
        let mut count = 0_usize;
        while json.item().ok()? {
            match &self.items {
                Some(items) => items.meets(json)?,
                None => anything(json)?,
            }
            count = count.saturating_add(1);
        }
        let (least, most) = self.count;
        (least <= count && count <= most).then_some(())
    }

    /// Answers mostly name their members in the schema's order, or else in any.
    fn object(&self, json: &mut Lexer<'_>) -> Option<()> {
        self.allows(OBJECT)?;
        is_shallow(json)?;
        let (mut seen, mut next) = (0, 0);
        while let Some(name) = json.member().ok()? {
            if json::backslash(name).is_some() {
                return None;
            }
            if let Some((at, member)) = self.member(name, next) {
                (seen, next) = (seen | bit(at), at.saturating_add(1));
                member.meets(json)?;
            } else {
                match &self.others {
                    Others::Anything => anything(json)?,
                    Others::Like(other) => other.meets(json)?,
                    Others::Nothing => return None,
                }
            }
        }
        (seen & self.required == self.required).then_some(())
    }

    fn member(&self, name: &[u8], next: usize) -> Option<(usize, &Self)> {
        let is = |known: &str| known.as_bytes() == name;
        match self.members.get(next) {
            Some((known, member)) if is(known) => Some((next, member)),
            _ => {
                let at = self.members.iter().position(|(known, _)| is(known))?;
                Some((at, &self.members.get(at)?.1))
            }
        }
    }
}

/// Any value that is surely one for the engine's reader as well.
fn anything(json: &mut Lexer<'_>) -> Option<()> {
    match json.value().ok()? {
        Value::Null | Value::Bool(_) => Some(()),
        Value::Number(raw) => {
            (raw.len() <= LONGEST_NUMBER && !raw.contains(&b'e') && !raw.contains(&b'E')).then_some(())
        }
        Value::String(raw) => is_plainly_escaped(raw).then_some(()),
        Value::Array => {
            is_shallow(json)?;
            while json.item().ok()? {
                anything(json)?;
            }
            Some(())
        }
        Value::Object => {
            is_shallow(json)?;
            while let Some(name) = json.member().ok()? {
                if !is_plainly_escaped(name) {
                    return None;
                }
                anything(json)?;
            }
            Some(())
        }
    }
}

fn is_shallow(json: &Lexer<'_>) -> Option<()> {
    let nesting = usize::try_from(json.depth()).unwrap_or(usize::MAX);
    (nesting <= Extent::MAX_NESTING).then_some(())
}

/// Whether no escape is by number: half of a pair may be missing.
fn is_plainly_escaped(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(after) = json::backslash(rest).and_then(|at| rest.get(at..)) {
        if after.get(1) == Some(&b'u') {
            return false;
        }
        rest = after.get(2..).unwrap_or_default();
    }
    true
}

/// Characters of a plainly escaped string.
fn characters(raw: &[u8]) -> usize {
    let mut escaped = false;
    let begins = |byte: &&u8| {
        // The second byte of an escape is the character.
        escaped = **byte == b'\\' && !escaped;
        !escaped && **byte & 0xc0 != 0x80
    };
    raw.iter().filter(begins).count()
}

fn kinds(value: &Source) -> Option<u8> {
    let one = |name: &Source| {
        Some(match name.as_str()? {
            "null" => NULL,
            "boolean" => BOOLEAN,
            "integer" => INTEGER,
            "number" => NUMBER | INTEGER,
            "string" => STRING,
            "array" => ARRAY,
            "object" => OBJECT,
            _ => return None,
        })
    };
    match value {
        Source::Array(names) => names.iter().try_fold(0, |kinds, name| Some(kinds | one(name)?)),
        name => one(name),
    }
}

fn words(values: &[Source]) -> Option<Vec<Box<str>>> {
    values
        .iter()
        .map(|value| value.as_str().map(Into::into))
        .collect()
}

fn bound(value: &Source) -> Option<i64> {
    value
        .as_i64()
        .filter(|bound| bound.unsigned_abs() <= LARGEST_BOUND)
}

fn size(value: &Source) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn members(value: &Source, depth: usize) -> Option<Vec<(Box<str>, Glance)>> {
    let members = value
        .as_object()
        .filter(|members| members.len() <= MOST_MEMBERS)?;
    let one =
        |(name, schema): (&String, &Source)| Some((name.as_str().into(), Glance::within(schema, depth)?));
    members.iter().map(one).collect()
}

fn others(value: &Source, depth: usize) -> Option<Others> {
    Some(match value {
        Source::Bool(true) => Others::Anything,
        Source::Bool(false) => Others::Nothing,
        schema => Others::Like(Box::new(Glance::within(schema, depth)?)),
    })
}

fn bit(at: usize) -> u64 {
    u32::try_from(at)
        .ok()
        .and_then(|at| 1_u64.checked_shl(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
