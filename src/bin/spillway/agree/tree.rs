//! A place in a configuration: its value, and the path by which people find it.
//!
//! Its invariant: every reading takes what Envoy takes (names in snake_case or camelCase, numbers and truth values as
//! texts too), so that nothing is missed for the way it is written.

use core::time::Duration;

use serde_json::Value;

/// A value and its path.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value,
            path: String::new(),
        }
    }

    /// A member, under its name in snake_case or in camelCase; none when it is null.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        let members = self.value.as_object()?;
        let (name, value) = match members.get_key_value(name) {
            Some(found) => found,
            None => members.get_key_value(&camel(name))?,
        };
        (!value.is_null()).then(|| Self {
            value,
            path: self.path_of(name),
        })
    }

    /// A member of a member …
    pub(super) fn at(&self, names: &[&str]) -> Option<Self> {
        names.iter().try_fold(self.clone(), |node, name| node.get(name))
    }

    /// The path that a member has or would have.
    pub(super) fn path_of(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// A list's items; none for anything else.
    pub(super) fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items
            .map(|(at, value)| Self {
                value,
                path: format!("{}[{at}]", self.path),
            })
            .collect()
    }

    /// A list's items under a name; none where it is missing.
    pub(super) fn list(&self, name: &str) -> Vec<Self> {
        self.get(name).map(|list| list.items()).unwrap_or_default()
    }

    /// An object's members.
    pub(super) fn members(&self) -> Vec<(&'a str, Self)> {
        let members = self.value.as_object().into_iter().flatten();
        members
            .map(|(name, value)| {
                let path = self.path_of(name);
                (name.as_str(), Self { value, path })
            })
            .collect()
    }

    /// A member's text; empty where it is missing or none.
    pub(super) fn text(&self, name: &str) -> &'a str {
        self.get(name)
            .and_then(|node| node.value.as_str())
            .unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|node| matches!(node.value, Value::Bool(true)) || node.value == "true")
    }

    /// This value as a number, however it is written.
    pub(super) fn number(&self) -> Option<f64> {
        match self.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// This value as a span: `0.25s`.
    pub(super) fn span(&self) -> Option<Duration> {
        let seconds = self.value.as_str()?.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The type that an `Any` says it is, without its address.
    pub(super) fn kind(&self) -> &'a str {
        let url = self.text("@type");
        url.rsplit_once('/').map_or(url, |(_, kind)| kind)
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let initial = letters.next().map(|c| c.to_ascii_uppercase());
        name + &initial.map(String::from).unwrap_or_default() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use serde_json::json;

    use super::Node;

    #[test]
    fn a_member_is_found_however_envoy_lets_it_be_written() {
        let value =
            json!({"maxRetries": "7", "vm_id": "x", "a": [{"b": null}, {"b": "0.25s"}], "on": "true"});
        let root = Node::root(&value);
        assert_eq!(root.get("max_retries").and_then(|n| n.number()), Some(7.0));
        assert_eq!(root.get("max_retries").unwrap().path, "maxRetries");
        assert_eq!(root.text("vm_id"), "x");
        assert!(root.flag("on") && !root.flag("off"));
        let items = root.list("a");
        assert!(items[0].get("b").is_none());
        assert_eq!(items[1].get("b").unwrap().path, "a[1].b");
        assert_eq!(
            items[1].get("b").unwrap().span(),
            Some(Duration::from_millis(250))
        );
    }
}
