//! Guards: what is looked for in texts, where, and what becomes of it.

use std::sync::Arc;

use super::error::list;
use super::field::{Field, Reading, Section};
use super::limit;
use super::names;
use super::types::{Guard, GuardAction, Mode, ModelRoute, Side};
use super::when::When;
use crate::guard::{Kind, Own};

const FIELDS: [&str; 8] = [
    "name", "when", "on", "kinds", "patterns", "words", "action", "mode",
];
const SIDES: [Side; 2] = [Side::Request, Side::Answer];
const ACTIONS: [GuardAction; 4] = [
    GuardAction::Detect,
    GuardAction::Mask,
    GuardAction::Restore,
    GuardAction::Block,
];
const PATTERNS: &str = "regular expressions without look-around, anchors and references back, whose matches have 1 to 240 \
                        bytes; 256 KiB compiled";
const WORDS: &str = "1 to 240 bytes each, without white space around them; 64 KiB together";

/// The guards, in the order written.
pub(super) fn guards(field: &Field<'_>, routes: &[&ModelRoute], r: &mut Reading<'_>) -> Vec<Guard> {
    let mut guards: Vec<Guard> = Vec::new();
    for (index, item) in field.items(r, "a list of guards").iter().enumerate() {
        let section = item.section(r, &FIELDS);
        let before = guards.iter().map(|guard| &guard.name);
        let name = names::of_item(&section, ("guard", index), before, r);
        guards.extend(guard(&section, name, routes, r));
    }
    guards
}

fn guard(section: &Section<'_>, name: String, routes: &[&ModelRoute], r: &mut Reading<'_>) -> Option<Guard> {
    let when = When::read(section, routes, r);
    let kinds = section.get("kinds").map(|f| kinds(&f, r)).unwrap_or_default();
    let own = own(section, r);
    let action = section.require("action", r, &list(&ACTIONS.map(GuardAction::as_str)));
    let action = action.and_then(|f| f.choice(r, &ACTIONS.map(|action| (action.as_str(), action))));
    let on = sides(section, action, r);
    let mode = section.or("mode", Mode::default(), |f| limit::mode(&f, r));
    looks_for_something(section, r);
    Some(Guard {
        name,
        when,
        on,
        kinds,
        own: Arc::new(own),
        action: action?,
        mode,
    })
}

fn looks_for_something(section: &Section<'_>, r: &mut Reading<'_>) {
    let empty = |field: Field<'_>| field.tree().as_array().is_some_and(Vec::is_empty);
    let nothing = |name| section.get(name).is_none_or(empty);
    if section.readable && ["kinds", "patterns", "words"].into_iter().all(nothing) {
        r.refuse(
            &section.path,
            "looks for nothing",
            "at least one of kinds, patterns, words",
        );
    }
}

fn kinds(field: &Field<'_>, r: &mut Reading<'_>) -> Vec<Kind> {
    let words = Kind::NAMED.map(|kind| (kind.name(), kind));
    let items = field.items(r, "a list of kinds");
    items.iter().filter_map(|item| item.choice(r, &words)).collect()
}

/// Both sides unless it says; only the request where the answer gets back what was there.
fn sides(section: &Section<'_>, action: Option<GuardAction>, r: &mut Reading<'_>) -> Vec<Side> {
    const RESTORED: &str = "[request]: what restore masks there is put back in the answer";
    let restores = action == Some(GuardAction::Restore);
    let Some(field) = section.get("on") else {
        return if restores {
            vec![Side::Request]
        } else {
            vec![Side::Request, Side::Answer]
        };
    };
    let items = field.items(r, "a list of request, answer");
    if items.is_empty() && field.tree().is_array() {
        field.refuse(
            r,
            "is empty",
            "a list of request, answer; or no such field, for both",
        );
    }
    let sides: Vec<Side> = items
        .iter()
        .filter_map(|item| item.choice(r, &SIDES.map(|side| (side.as_str(), side))))
        .collect();
    if restores && sides.contains(&Side::Answer) {
        field.refuse(r, "holds answer", RESTORED);
    }
    sides
}

fn own(section: &Section<'_>, r: &mut Reading<'_>) -> Own {
    let (patterns, pattern_fields) = texts(section, ("patterns", PATTERNS), r);
    let (words, word_fields) = texts(section, ("words", WORDS), r);
    let own = Own::default()
        .with_patterns(&patterns)
        .unwrap_or_else(|(index, why)| {
            refuse(
                section.get("patterns"),
                (&pattern_fields, index, PATTERNS),
                &why,
                r,
            );
            Own::default()
        });
    own.with_words(&words).unwrap_or_else(|(index, why)| {
        refuse(section.get("words"), (&word_fields, index, WORDS), &why, r);
        Own::default()
    })
}

fn texts<'v>(
    section: &Section<'v>,
    (name, allowed): (&str, &str),
    r: &mut Reading<'_>,
) -> (Vec<&'v str>, Vec<Field<'v>>) {
    let fields = section
        .get(name)
        .map(|f| f.items(r, &format!("a list of {name}")))
        .unwrap_or_default();
    let read = fields
        .into_iter()
        .filter_map(|field| Some((field.text(r, allowed)?, field)));
    read.unzip()
}

/// Of the item with this index, or of the list when the fault lies in all together.
fn refuse(
    all: Option<Field<'_>>,
    (items, index, allowed): (&[Field<'_>], usize, &str),
    why: &str,
    r: &mut Reading<'_>,
) {
    if let Some(field) = items.get(index).or(all.as_ref()) {
        field.refuse(r, why, allowed);
    }
}
