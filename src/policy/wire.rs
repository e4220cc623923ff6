//! A `google.protobuf.Struct` as bytes: how Envoy hands over a policy that its configuration writes as YAML or JSON.
//!
//! Envoy 1.36–1.40 give a plugin the serialized message, not JSON. Reading it here spares operators a JSON text
//! inside their YAML. Wire format: protobuf encoding guide; message: `google/protobuf/struct.proto`.

use serde_json::{Map, Number, Value};

/// Deeper nesting than any policy has.
const MAX_DEPTH: u32 = 64;

/// Reads a serialized `google.protobuf.Struct`; `None` for bytes that aren't one.
#[must_use]
pub(super) fn from_struct(bytes: &[u8]) -> Option<Value> {
    object(bytes, MAX_DEPTH)
}

fn object(mut bytes: &[u8], depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut members = Map::new();
    while let Some((field, rest)) = next(bytes)? {
        bytes = rest;
        let (key, value) = member(field.message(1)?, depth)?;
        members.insert(key, value);
    }
    Some(Value::Object(members))
}

fn member(mut bytes: &[u8], depth: u32) -> Option<(String, Value)> {
    let (mut key, mut content) = (String::new(), Value::Null);
    while let Some((field, rest)) = next(bytes)? {
        bytes = rest;
        match field.number {
            1 => key = text(field.message(1)?)?,
            2 => content = value(field.message(2)?, depth)?,
            _ => return None,
        }
    }
    Some((key, content))
}

fn value(mut bytes: &[u8], depth: u32) -> Option<Value> {
    let mut found = Value::Null;
    while let Some((field, rest)) = next(bytes)? {
        bytes = rest;
        found = match (field.number, field.payload) {
            (1, Payload::Integer(_)) => Value::Null,
            (2, Payload::Fixed(bits)) => number(f64::from_bits(bits))?,
            (3, Payload::Bytes(raw)) => Value::String(text(raw)?),
            (4, Payload::Integer(flag)) => Value::Bool(flag != 0),
            (5, Payload::Bytes(raw)) => object(raw, depth)?,
            (6, Payload::Bytes(raw)) => list(raw, depth)?,
            _ => return None,
        };
    }
    Some(found)
}

fn list(mut bytes: &[u8], depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut items = Vec::new();
    while let Some((field, rest)) = next(bytes)? {
        bytes = rest;
        items.push(value(field.message(1)?, depth)?);
    }
    Some(Value::Array(items))
}

/// A whole number stays one: the message knows doubles alone.
fn number(double: f64) -> Option<Value> {
    let whole = format!("{double:.0}");
    match whole.parse::<i64>() {
        Ok(integer) if double.fract() == 0.0 => Some(Value::from(integer)),
        _ => Number::from_f64(double).map(Value::Number),
    }
}

fn text(raw: &[u8]) -> Option<String> {
    String::from_utf8(raw.to_vec()).ok()
}

struct Field<'a> {
    number: u64,
    payload: Payload<'a>,
}

enum Payload<'a> {
    Integer(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// The bytes of a length-delimited field, if it has this number.
    fn message(&self, number: u64) -> Option<&'a [u8]> {
        match self.payload {
            Payload::Bytes(raw) if self.number == number => Some(raw),
            Payload::Bytes(_) | Payload::Integer(_) | Payload::Fixed(_) => None,
        }
    }
}

/// The next field and what follows it; `Some(None)` at the end, `None` for damage.
#[allow(clippy::option_option)] // The end isn't damage.
fn next(bytes: &[u8]) -> Option<Option<(Field<'_>, &[u8])>> {
    if bytes.is_empty() {
        return Some(None);
    }
    let (tag, rest) = varint(bytes)?;
    let (payload, rest) = match tag & 7 {
        0 => varint(rest).map(|(integer, rest)| (Payload::Integer(integer), rest))?,
        1 => rest.split_first_chunk().map(|(raw, rest)| (Payload::Fixed(u64::from_le_bytes(*raw)), rest))?,
        2 => {
            let (length, rest) = varint(rest)?;
            let (raw, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Payload::Bytes(raw), rest)
        }
        _ => return None,
    };
    Some(Some((Field { number: tag >> 3, payload }, rest)))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut integer = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let shift = u32::try_from(at).ok()? * 7;
        integer |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((integer, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn delimited(number: u8, raw: &[u8]) -> Vec<u8> {
        let length = u8::try_from(raw.len()).unwrap();
        [&[number << 3 | 2, length][..], raw].concat()
    }

    fn entry(key: &str, value: &[u8]) -> Vec<u8> {
        delimited(1, &[delimited(1, key.as_bytes()), delimited(2, value)].concat())
    }

    fn sample() -> Vec<u8> {
        let one = [&[2 << 3 | 1][..], &1f64.to_le_bytes()].concat();
        let half = [&[2 << 3 | 1][..], &0.5f64.to_le_bytes()].concat();
        let items = [delimited(1, &delimited(3, "é".as_bytes())), delimited(1, &[4 << 3, 1])].concat();
        let inner = entry("none", &[1 << 3, 0]);
        let members = [
            entry("version", &one),
            entry("rate", &half),
            entry("list", &delimited(6, &items)),
            entry("in", &delimited(5, &inner)),
        ];
        members.concat()
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let expected = json!({"version": 1, "rate": 0.5, "list": ["é", true], "in": {"none": null}});
        assert_eq!(from_struct(&sample()), Some(expected));
    }

    #[test]
    fn damage_anywhere_never_panics() {
        let whole = sample();
        for end in 0..whole.len() {
            let _ = from_struct(&whole[..end]);
            let mut flipped = whole.clone();
            flipped[end] ^= 0xff;
            let _ = from_struct(&flipped);
        }
        assert_eq!(from_struct(b"{\"version\": 1}"), None);
    }

    #[test]
    fn endless_nesting_is_refused() {
        let mut nested = entry("x", &[1 << 3, 0]);
        for _ in 0..20 {
            nested = entry("x", &delimited(5, &nested));
        }
        assert!(from_struct(&nested).is_some());
        assert_eq!(object(&nested, 10), None);
    }
}
