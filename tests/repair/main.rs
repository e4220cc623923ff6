//! The repair of broken answers against a set that was written before it, and against damage done at random.
//!
//! See README.md for the set. A miss costs a retry; a wrong repair costs a customer: none is allowed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod damage;
#[path = "../timed/mod.rs"]
pub mod timed;

use serde_json::Value;
use spillway::body::repair::{Repaired, repair};
use spillway::body::schema::Schema;
use spillway::body::verdict::Verdict;
use timed::timed;

struct Case {
    number: u64,
    kind: String,
    text: String,
    schema: Option<Value>,
    /// None: there is no right one.
    reading: Option<Value>,
}

fn cases() -> Vec<Case> {
    let line = |line: &str| {
        let mut case: Value = serde_json::from_str(line).unwrap();
        let reading = case.as_object_mut().unwrap().remove("reading");
        assert_ne!(reading.is_some(), case.get("none").is_some(), "{line}");
        Case {
            number: case["n"].as_u64().unwrap(),
            kind: case["kind"].as_str().unwrap().to_owned(),
            text: case["text"].as_str().unwrap().to_owned(),
            schema: case.get("schema").cloned(),
            reading,
        }
    };
    include_str!("answers.jsonl").lines().map(line).collect()
}

fn is_held_out(case: &Case) -> bool {
    case.number.is_multiple_of(3)
}

fn mended(text: &str, schema: Option<&Value>) -> Option<Repaired> {
    let schema = schema.map(|schema| Schema::compile(schema).unwrap());
    repair(text.as_bytes(), |bytes| accepts(bytes, schema.as_ref()))
}

fn accepts(bytes: &[u8], schema: Option<&Schema>) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    match schema {
        Some(schema) => schema.check(text) == Verdict::Valid,
        None => serde_json::from_str::<Value>(text).is_ok_and(|v| v.is_object() || v.is_array()),
    }
}

/// Repaired, could be repaired, wrong.
fn judge(of: impl Fn(&Case) -> bool) -> (usize, usize, Vec<String>) {
    let (mut repaired, mut readable, mut wrong) = (0, 0, Vec::new());
    for case in cases().iter().filter(|case| of(case)) {
        let found = mended(&case.text, case.schema.as_ref());
        let value = found
            .as_ref()
            .map(|found| serde_json::from_slice::<Value>(&found.bytes).unwrap());
        let shown: String = case.text.chars().take(70).collect();
        readable += usize::from(case.reading.is_some());
        match (value, &case.reading) {
            (Some(value), Some(reading)) if value == *reading => repaired += 1,
            (None, Some(_)) => println!("missed {} {}: {shown:?}", case.number, case.kind),
            (Some(value), _) => wrong.push(format!("{} {}: {shown:?} as {value}", case.number, case.kind)),
            (None, None) => {}
        }
    }
    println!("repaired {repaired} of {readable}");
    (repaired, readable, wrong)
}

#[test]
fn most_of_the_answers_that_can_be_read_are_repaired_and_none_wrongly() {
    let (repaired, readable, wrong) = judge(|case| !is_held_out(case));
    assert_eq!(wrong, Vec::<String>::new());
    assert!(repaired * 100 >= readable * 95, "{repaired} of {readable}");
}

#[test]
fn the_part_that_was_held_out_is_repaired_as_well() {
    let (repaired, readable, wrong) = judge(is_held_out);
    assert_eq!(wrong, Vec::<String>::new());
    assert!(repaired * 100 >= readable * 90, "{repaired} of {readable}");
}

#[test]
fn much_of_anything_is_read_in_linear_time() {
    let units = [
        "[",
        "{",
        "{\"a\":",
        "[[1],",
        "{'",
        "\"",
        "'",
        "\\",
        "/*",
        "//\n",
        "# \n",
        "[/**/",
        "{{",
        "[x] ",
        "{x} ",
        "“",
        "„“",
        "`",
        "\"\"\"",
        "a",
        " ",
        "\n",
        "\u{a0}",
        "1",
        ".",
        "-",
        ",",
        ":",
        "```",
        "<think>",
        "{\"a\": \"\"x\" ",
        "{a:",
        "{\"a\":1}\n",
        "[\"a\" b, \"c",
        "{\\\"",
        "\\n",
        "{\"a\": \"x\\",
        "{\"a\": \"b\" c\", ",
        "{'a': 'b' c', ",
    ];
    for unit in units {
        for front in ["", "{\"a\": \"", "[\"", "{'a': ['", "[1", "{\"a\": \"x\"y"] {
            for back in ["", "\"}", "]", "\n```"] {
                let text = format!("{front}{}{back}", unit.repeat((1 << 16) / unit.len()));
                let spent = timed(|| repair(text.as_bytes(), |_| false));
                assert!(spent.as_millis() < 1_500, "{front}{unit:?}…{back} took {spent:?}");
            }
        }
    }
}

/// Whether a shorter text was read as what stood whole in a longer one: the same, but for elements missing at the end.
fn is_beginning(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Array(part), Value::Array(whole)) => {
            let last = part.len().saturating_sub(1);
            part.len() <= whole.len()
                && (part.iter().zip(whole).enumerate())
                    .all(|(n, (a, b))| a == b || n == last && is_beginning(a, b))
        }
        (Value::Object(part), Value::Object(whole)) => {
            let differs = part
                .iter()
                .filter(|(name, value)| whole.get(*name) != Some(value));
            let differing: Vec<_> = differs.collect();
            differing.len() <= 1
                && (differing.iter()).all(|(name, a)| whole.get(*name).is_some_and(|b| is_beginning(a, b)))
        }
        _ => part == whole,
    }
}

#[test]
fn damage_done_at_random_is_undone_or_left_alone() {
    let rounds: u64 = std::env::var("SPILLWAY_DAMAGES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(30_000);
    let (mut cases, mut repaired, mut wrong) = (0_u32, 0_u32, Vec::new());
    for seed in 1..=rounds {
        let mut dice = damage::Dice::new(seed);
        let value = damage::object(&mut dice, 3);
        let style = damage::Style::random(&mut dice);
        let written = damage::write(&value, style, &mut dice);
        let text = damage::surround(&written, &mut dice);
        if serde_json::from_str::<Value>(&text).is_ok() {
            assert_eq!(
                repair(text.as_bytes(), |_| false),
                None,
                "a valid text was changed: {text}"
            );
            continue;
        }
        cases += 1;
        let Some(found) = mended(&text, None) else {
            continue;
        };
        let read: Value = serde_json::from_slice(&found.bytes).unwrap();
        let cut_off = written.text.starts_with(&text) && is_beginning(&read, &value);
        if read == value || cut_off {
            repaired += 1;
        } else {
            wrong.push(format!("{seed} {style:?}\n{text}\n→ {read}\n≠ {value}"));
        }
    }
    println!("repaired {repaired} of {cases}, {} wrongly", wrong.len());
    wrong.iter().take(12).for_each(|case| println!("{case}\n"));
    assert!(wrong.is_empty());
}
