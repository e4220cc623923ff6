//! What is said of an answer: whether it matches, and where it doesn't.
//!
//! The invariant: nothing here quotes the answer. Paths consist of array indices, of names that the schema knows, and
//! of `*` for every other name.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::json;

/// Whether an answer matches its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It matches.
    Valid,
    /// It isn't one JSON value.
    NotJson,
    /// It is JSON, and fails: never empty, at most [`Verdict::MAX_VIOLATIONS`].
    Invalid(Vec<Violation>),
}

impl Verdict {
    /// More are of no use to whoever reads them.
    pub const MAX_VIOLATIONS: usize = 8;
}

/// One place at which an answer fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON Pointer into the answer; for `required` it names the missing member. Names that the schema doesn't know
    /// are `*`; a path longer than [`Violation::MAX_PATH`] ends with `/…`.
    pub path: String,
    /// The schema's keyword that isn't met; `falseSchema` where nothing is allowed. `schema` when only the whole is
    /// known to fail; `maxNesting`, `maxValues` and `maxPatternWork` for what is never looked at.
    pub keyword: String,
}

impl Violation {
    /// Bytes of a path.
    pub const MAX_PATH: usize = 256;

    /// The answer as a whole fails.
    pub(super) fn whole(keyword: &str) -> Self {
        Path::default().failing(keyword)
    }
}

/// A path on its way into a [`Violation`].
#[derive(Debug, Default)]
pub(super) struct Path {
    text: String,
    cut: bool,
}

impl Path {
    /// Where `pointer` leads in `instance`, without the names that aren't among `known`.
    pub(super) fn within(pointer: &str, instance: &Value, known: &BTreeSet<Box<str>>) -> Self {
        let mut path = Self::default();
        let mut value = Some(instance);
        for segment in pointer.split('/').skip(1) {
            let name = segment.replace("~1", "/").replace("~0", "~");
            let index = name.parse().ok().filter(|_| value.is_some_and(Value::is_array));
            match index {
                Some(index) => path.push(segment, value.and_then(|v| v.get::<usize>(index)).is_some()),
                None => path.push(segment, known.contains(name.as_str())),
            }
            value = value.and_then(|v| index.map_or_else(|| v.get(&name), |index| v.get(index)));
        }
        path
    }

    /// Goes on to a member whose name the schema gives.
    pub(super) fn push_name(&mut self, name: &str) {
        self.push(&name.replace('~', "~0").replace('/', "~1"), true);
    }

    /// Ends here, at a keyword.
    pub(super) fn failing(self, keyword: &str) -> Violation {
        Violation {
            path: self.text,
            keyword: keyword.to_owned(),
        }
    }

    fn push(&mut self, segment: &str, known: bool) {
        let shown = if known { segment } else { "*" };
        if self.cut {
            return;
        }
        self.cut = self.text.len().saturating_add(shown.len()) >= Violation::MAX_PATH;
        self.text.push('/');
        self.text.push_str(if self.cut { "…" } else { shown });
    }
}

/// How large a JSON text is, from one scan of its bytes before anything is built of it.
///
/// A value takes up to 700 bytes once built (a small object), so that the text's length alone bounds too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Containers within one another.
    pub(super) nesting: usize,
    /// Commas and opened containers: about the number of values.
    values: usize,
}

impl Extent {
    /// Containers within one another. Answers stay far below; the parser, the schema and the stack have to bear it.
    pub(super) const MAX_NESTING: usize = 64;
    /// Values in all: 45 MB when each is an object.
    pub(super) const MAX_VALUES: usize = 65_536;

    pub(super) fn of(text: &str) -> Self {
        let mut extent = Self::default();
        let mut open = 0_usize;
        let mut rest = text.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'"' => rest = after_string(after),
                b'{' | b'[' => {
                    open = open.saturating_add(1);
                    extent.nesting = extent.nesting.max(open);
                    extent.values = extent.values.saturating_add(1);
                }
                b'}' | b']' => open = open.saturating_sub(1),
                b',' => extent.values = extent.values.saturating_add(1),
                _ => {}
            }
        }
        extent
    }

    /// What of it is out of bounds.
    pub(super) fn violation(self) -> Option<Violation> {
        if self.nesting > Self::MAX_NESTING {
            Some(Violation::whole("maxNesting"))
        } else if self.values > Self::MAX_VALUES {
            Some(Violation::whole("maxValues"))
        } else {
            None
        }
    }
}

/// What follows a string, given what follows its opening quote; nothing if it isn't closed.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = json::string_special(rest) {
        let special = rest.get(at..).unwrap_or_default();
        rest = match special {
            [b'"', after @ ..] => return after,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
            [] => b"",
        };
    }
    b""
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Extent, Path, Violation};

    #[test]
    fn an_extent_counts_structure_and_not_strings() {
        let table = [
            ("", (0, 0)),
            ("7", (0, 0)),
            (r#""a,[{\",[""#, (0, 0)),
            ("[\"\t,\\\\\",\",", (1, 2)),
            (r#"["\"#, (1, 1)),
            (r#"{"a": [1, 2, {}], "b": "\\"}"#, (3, 6)),
            ("]]]][[", (2, 2)),
        ];
        for (text, (nesting, values)) in table {
            assert_eq!(Extent::of(text), Extent { nesting, values }, "{text}");
        }
    }

    #[test]
    fn a_path_shows_indices_and_names_of_the_schema_only() {
        let known = ["items", "a/b"].map(Box::from).into();
        let instance = json!({"items": [{"a/b": 1}], "4111111111111111": [0], "secret": {"items": 1}});
        let table = [
            ("", ""),
            ("/items/0/a~1b", "/items/0/a~1b"),
            ("/4111111111111111", "/*"),
            ("/4111111111111111/0", "/*/0"),
            ("/secret/items", "/*/items"),
            ("/items/7", "/items/*"),
        ];
        for (pointer, shown) in table {
            assert_eq!(
                Path::within(pointer, &instance, &known).failing("type").path,
                shown,
                "{pointer}"
            );
        }
    }

    #[test]
    fn a_long_path_is_cut_between_segments() {
        let known = ["name".into()].into();
        let path = Path::within(&"/name".repeat(100), &json!({}), &known)
            .failing("type")
            .path;
        assert!(
            path.len() <= Violation::MAX_PATH + 8 && path.ends_with("/name/…"),
            "{path}"
        );
    }
}
