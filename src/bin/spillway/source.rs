//! From a file to a document: JSON as the module reads it, YAML 1.2 as its tree.

use serde_json::Value;
use spillway::policy::{Edition, Environment, Policy, load_for, load_value_for};

/// A document that was read, and the policy that it is.
pub(crate) struct Read {
    pub(crate) document: Value,
    pub(crate) policy: Policy,
}

/// The policy of a file's text; on error, the module's own words, or what the YAML parser says.
pub(crate) fn read(name: &str, text: &str, environment: &impl Environment) -> Result<Read, String> {
    read_for(Edition::Full, (name, text), environment)
}

/// As [`read`], of the file's name and text, as an edition of the module would.
pub(crate) fn read_for(
    edition: Edition,
    (name, text): (&str, &str),
    environment: &impl Environment,
) -> Result<Read, String> {
    let told = |error: spillway::policy::PolicyError| error.to_string();
    if is_json(name, text) {
        let policy = load_for(edition, text, environment).map_err(told)?;
        let document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok(Read { document, policy });
    }
    let document = yaml(text).map_err(|wrong| format!("policy: {wrong}"))?;
    of_edition(edition, document, environment)
}

/// The policy of a tree that was read already.
pub(crate) fn of_document(document: Value, environment: &impl Environment) -> Result<Read, String> {
    of_edition(Edition::Full, document, environment)
}

fn of_edition(edition: Edition, document: Value, environment: &impl Environment) -> Result<Read, String> {
    let policy = load_value_for(edition, document.clone(), environment).map_err(|error| error.to_string())?;
    Ok(Read { document, policy })
}

/// The tree of any file, JSON or YAML.
pub(crate) fn tree(name: &str, text: &str) -> Result<Value, String> {
    match is_json(name, text) {
        true => serde_json::from_str(text).map_err(|error| format!("isn't JSON: {error}")),
        false => yaml(text),
    }
}

/// By its extension; with another one, by its first character.
fn is_json(name: &str, text: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("json") => true,
        Some("yaml" | "yml") => false,
        Some(_) | None => text.trim_start().starts_with('{'),
    }
}

/// The tree of one document of YAML 1.2.
pub(crate) fn yaml(text: &str) -> Result<Value, String> {
    // YAML 1.2: `no` and `on` are text. No snippet: the document stays out of logs.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| format!("isn't YAML: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use spillway::policy::load_value;

    use super::{is_json, read, yaml};

    fn refusal(name: &str, text: &str) -> String {
        read(name, text, &BTreeMap::new()).err().unwrap_or_default()
    }

    #[test]
    fn the_extension_decides_then_the_content() {
        assert!(is_json("a.json", "") && is_json("a.JSON", "") && !is_json("a.yml", "{}"));
        assert!(is_json("policy", " {}") && !is_json("policy", "a: 1") && is_json("a.conf", "{"));
    }

    #[test]
    fn yaml_is_version_1_2() {
        let document =
            yaml("a: no\nb: on\nc: 10\nd: 1e3\ne: ~\nf:\ng: 100k/min\nh: 0x10\n'1': {x: [y, 2.0]}").unwrap();
        assert_eq!(
            document,
            json!({"a": "no", "b": "on", "c": 10, "d": 1000.0, "e": null, "f": null, "g": "100k/min", "h": 16,
                   "1": {"x": ["y", 2.0]}})
        );
    }

    #[test]
    fn bad_yaml_is_refused_with_its_place_and_without_its_text() {
        assert!(
            refusal("a.yaml", "a: 1\na: s3cr3t").contains("line 2"),
            "{}",
            refusal("a.yaml", "a: 1\na: s3cr3t")
        );
        for text in [
            "a: 1\na: s3cr3t",
            "a: [s3cr3t",
            "--- {a: s3cr3t}\n--- {b: s3cr3t}",
            "x: *s3",
        ] {
            let told = refusal("a.yaml", text);
            assert!(
                told.starts_with("policy: isn't YAML: ") && !told.contains("s3cr3t"),
                "{told}"
            );
        }
    }

    /// Every document that differs from `document` in one value.
    fn variants(document: &Value) -> Vec<Value> {
        let junk = [
            json!(null),
            json!(true),
            json!(-1),
            json!(1e300),
            json!("\u{0}x/y"),
            json!([[]]),
            json!({"": 0}),
        ];
        let mut variants = junk.to_vec();
        variants.extend(variants_of_members(document));
        variants
    }

    fn variants_of_members(value: &Value) -> Vec<Value> {
        let mut found = Vec::new();
        let places: Vec<String> = match value {
            Value::Object(members) => members.keys().cloned().collect(),
            Value::Array(items) => (0..items.len()).map(|i| i.to_string()).collect(),
            _ => Vec::new(),
        };
        for place in places {
            let pointer = format!("/{}", place.replace('~', "~0").replace('/', "~1"));
            for variant in variants(value.pointer(&pointer).unwrap()) {
                let mut copy = value.clone();
                *copy.pointer_mut(&pointer).unwrap() = variant;
                found.push(copy);
            }
        }
        found
    }

    #[test]
    fn no_value_in_any_place_traps_or_is_refused_without_what_is_allowed() {
        let mut variables = crate::variables::Variables::default();
        variables.assume();
        for text in [
            include_str!("../../../examples/policies/teams.yaml"),
            include_str!("../../../examples/policies/extract.yaml"),
        ] {
            let mut refused = 0;
            for variant in variants(&yaml(text).unwrap()) {
                let Err(error) = load_value(variant, &variables) else {
                    continue;
                };
                refused += 1;
                for problem in error.problems() {
                    let told = problem.to_string();
                    assert!(
                        !problem.path.is_empty() && !problem.allowed.is_empty() && !told.contains('\n'),
                        "{told}"
                    );
                }
            }
            assert!(refused > 150, "{refused}");
        }
    }

    #[test]
    fn json_and_yaml_are_told_the_same() {
        assert_eq!(
            refusal("a.yaml", "version: 2"),
            refusal("a.json", r#"{"version": 2}"#)
        );
    }
}
