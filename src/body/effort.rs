//! How often a schema may look at one value: what bounds the work that schema and answer make together.
//!
//! A validator applies `allOf`, `anyOf`, `$ref` and their like to the same value again, so that a small schema can ask
//! for 2^n visits of it. The invariant: what is answered here is at least the true number, saturating, and found in
//! time linear in the schema's size × depth.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// What can't be bounded: a reference to itself in place, or to something that isn't found.
pub(super) const UNBOUNDED: u32 = u32::MAX;
/// References followed in place, one within the other, until they count as unbounded. Also bounds the stack.
const MAX_CHAIN: u32 = 64;
/// Subschemas × levels that are worth looking at.
const MAX_STEPS: usize = 100_000;
/// Keywords whose content is data, not schemas.
const DATA: [&str; 4] = ["enum", "const", "default", "examples"];

/// The most subschemas that any part of this schema applies to one and the same value.
pub(super) fn in_place(schema: &Value) -> u32 {
    let mut walk = Walk::over(schema);
    walk.level();
    walk.here.iter().copied().max().unwrap_or(1)
}

/// The most subschemas applied along any one path down an instance that nests `depth` deep.
pub(super) fn visits(schema: &Value, depth: usize) -> u32 {
    let mut walk = Walk::over(schema);
    if walk.schemas.len().saturating_mul(depth) > MAX_STEPS {
        return UNBOUNDED;
    }
    for _ in 0..=depth {
        walk.level();
    }
    walk.here.first().copied().unwrap_or(1)
}

struct Walk<'s> {
    root: &'s Value,
    /// Every object that may be a schema, the root first.
    schemas: Vec<&'s Map<String, Value>>,
    numbers: HashMap<*const Map<String, Value>, usize>,
    /// What `$id`, `id` and anchors name.
    named: HashMap<&'s str, &'s Value>,
    /// Visits when the instance nests one level less; empty when it doesn't nest.
    below: Vec<u32>,
    /// Visits at this level; 0 when not known yet.
    here: Vec<u32>,
    open: u32,
}

impl<'s> Walk<'s> {
    fn over(root: &'s Value) -> Self {
        let mut walk = Self {
            root,
            schemas: Vec::new(),
            numbers: HashMap::new(),
            named: HashMap::new(),
            below: Vec::new(),
            here: Vec::new(),
            open: 0,
        };
        walk.index(root);
        walk
    }

    fn index(&mut self, value: &'s Value) {
        match value {
            Value::Object(members) => {
                self.numbers
                    .insert(std::ptr::from_ref(members), self.schemas.len());
                self.schemas.push(members);
                for key in ["$id", "id", "$anchor", "$dynamicAnchor"] {
                    if let Some(name) = members.get(key).and_then(Value::as_str) {
                        self.named.insert(name.trim_matches('#'), value);
                    }
                }
                let children = members.iter().filter(|(key, _)| !DATA.contains(&key.as_str()));
                children.for_each(|(_, child)| self.index(child));
            }
            Value::Array(items) => items.iter().for_each(|item| self.index(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Goes one level up: what was here is below.
    fn level(&mut self) {
        self.below = std::mem::replace(&mut self.here, vec![0; self.schemas.len()]);
        for number in 0..self.schemas.len() {
            self.of_number(number);
        }
    }

    fn of(&mut self, schema: &Value) -> u32 {
        self.number(schema).map_or(1, |number| self.of_number(number))
    }

    fn number(&self, schema: &Value) -> Option<usize> {
        self.numbers
            .get(&std::ptr::from_ref(schema.as_object()?))
            .copied()
    }

    fn of_number(&mut self, number: usize) -> u32 {
        let known = self.here.get(number).copied().unwrap_or(UNBOUNDED);
        if known > 0 {
            return known;
        }
        // Until its own number is known, it is met again only by going in circles.
        self.know(number, UNBOUNDED);
        if self.open >= MAX_CHAIN {
            return UNBOUNDED;
        }
        self.open = self.open.saturating_add(1);
        let total = self
            .schemas
            .get(number)
            .copied()
            .map_or(1, |members| self.of_members(members));
        self.open = self.open.saturating_sub(1);
        self.know(number, total);
        total
    }

    fn know(&mut self, number: usize, total: u32) {
        if let Some(slot) = self.here.get_mut(number) {
            *slot = total;
        }
    }

    fn of_members(&mut self, members: &'s Map<String, Value>) -> u32 {
        let mut total: u32 = 1;
        for (keyword, value) in members {
            total = total.saturating_add(self.of_keyword(keyword, value));
        }
        // What `unevaluated*` leaves over is found by asking the neighbours once more.
        if members.keys().any(|keyword| keyword.starts_with("unevaluated")) {
            total = total.saturating_mul(2);
        }
        total
    }

    fn of_keyword(&mut self, keyword: &str, value: &'s Value) -> u32 {
        match keyword {
            "$ref" | "$dynamicRef" | "$recursiveRef" => {
                value.as_str().map_or(0, |target| self.of_target(target))
            }
            "not" | "if" | "then" | "else" => self.of(value),
            "allOf" | "anyOf" | "oneOf" | "dependentSchemas" | "dependencies" => {
                children(value).fold(0, |total: u32, schema| total.saturating_add(self.of(schema)))
            }
            // One child is under one of these at most, so the dearest counts.
            "properties" | "prefixItems" => children(value)
                .map(|schema| self.under(schema))
                .max()
                .unwrap_or(0),
            "items" if value.is_array() => children(value)
                .map(|schema| self.under(schema))
                .max()
                .unwrap_or(0),
            "patternProperties" => {
                children(value).fold(0, |total: u32, schema| total.saturating_add(self.under(schema)))
            }
            "items"
            | "additionalItems"
            | "contains"
            | "additionalProperties"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties" => self.under(value),
            _ => 0,
        }
    }

    fn of_target(&mut self, reference: &str) -> u32 {
        self.target(reference).map_or(UNBOUNDED, |target| self.of(target))
    }

    /// Visits of a child of the value at hand.
    fn under(&self, schema: &Value) -> u32 {
        if self.below.is_empty() {
            return 0;
        }
        self.number(schema)
            .and_then(|number| self.below.get(number))
            .copied()
            .unwrap_or(1)
    }

    fn target(&self, reference: &str) -> Option<&'s Value> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let resource = if base.is_empty() {
            self.root
        } else {
            self.resource(base)?
        };
        match fragment {
            "" => Some(resource),
            pointer if pointer.starts_with('/') => resource.pointer(&percent_decoded(pointer)),
            anchor => self.named.get(anchor).copied(),
        }
    }

    /// By its whole `$id`, or by the end of it that a relative reference gives.
    fn resource(&self, base: &str) -> Option<&'s Value> {
        let ends_so = |id: &str| {
            id.strip_suffix(base)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        self.named
            .iter()
            .find(|(id, _)| ends_so(id))
            .map(|(_, value)| *value)
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Object(members) => Box::new(members.values()),
        Value::Array(items) => Box::new(items.iter()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Box::new(std::iter::empty()),
    }
}

/// A URI fragment's `%xx` as the bytes they stand for; what isn't UTF-8 then is left as it was.
fn percent_decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| fragment.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{UNBOUNDED, in_place, visits};

    #[test]
    fn branches_add_up_in_place() {
        let table = [
            (json!(true), 1),
            (json!({"type": "string"}), 1),
            (json!({"anyOf": [{}, {}, {"not": {}}]}), 5),
            (json!({"properties": {"a": {"allOf": [{}, {}]}}}), 3),
            (
                json!({"$defs": {"a": {"allOf": [{}, {}]}}, "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}),
                9,
            ),
            (
                json!({"$id": "https://x.test/a.json", "$ref": "a.json#/$defs/b", "$defs": {"b": {}}}),
                2,
            ),
            (json!({"$ref": "#b", "$defs": {"c": {"$anchor": "b"}}}), 2),
            (json!({"properties": {"$ref": {"type": "string"}}}), 1),
            (json!({"const": {"$ref": "#/nowhere"}}), 1),
            (json!({"$ref": "#/$defs/a%20~1b", "$defs": {"a /b": {}}}), 2),
            (json!({"$ref": "#"}), UNBOUNDED),
            (json!({"$ref": "#/nowhere"}), UNBOUNDED),
        ];
        for (schema, expected) in table {
            assert_eq!(in_place(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_recursive_list_costs_its_length_and_a_branching_tree_its_power() {
        let list = json!({"properties": {"next": {"$ref": "#"}, "value": {}}});
        assert_eq!([0, 1, 10].map(|depth| visits(&list, depth)), [1, 3, 21]);
        let branch = |key: &str| json!({"properties": {key: {"$ref": "#"}}});
        let tree = json!({"anyOf": [branch("left"), branch("left")]});
        assert!(visits(&tree, 20) > 1 << 20);
        assert!(visits(&tree, 2) < 50);
    }

    #[test]
    fn a_bomb_of_references_saturates_instead_of_running() {
        let mut definitions = serde_json::Map::new();
        for n in 0..60 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            definitions.insert(format!("d{n}"), json!({"anyOf": [next, next]}));
        }
        definitions.insert("d60".to_owned(), json!({}));
        let bomb = json!({"$ref": "#/$defs/d0", "$defs": Value::Object(definitions)});
        assert_eq!(in_place(&bomb), UNBOUNDED);
    }
}
