//! The order of turns that Anthropic and Gemini ask for: system prompts apart, speakers alternating, the user first and last.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Untranslatable;
use super::conversation::{Part, Role, Turn};
use super::drops::Drops;

/// What the user says when the client's conversation begins with the assistant.
const OPENING: &str = "(The conversation begins.)";

/// A conversation in alternating turns, none of them empty.
#[derive(Debug, PartialEq)]
pub(super) struct Alternating<'a> {
    pub(super) system: Vec<Cow<'a, str>>,
    pub(super) turns: Vec<Turn<'a>>,
}

/// Orders turns: a later system prompt moves to the front, an opening is put before the assistant's first words, and both
/// are named.
pub(super) fn alternating<'a>(
    turns: Vec<Turn<'a>>,
    drops: &mut Drops,
) -> Result<Alternating<'a>, Untranslatable> {
    let mut ordered = Alternating {
        system: Vec::new(),
        turns: Vec::new(),
    };
    for mut turn in turns {
        turn.parts.retain(|part| !is_blank(part));
        if turn.role == Role::System {
            drops.name_if(
                !ordered.turns.is_empty() && !turn.parts.is_empty(),
                "messages[].role (system moved to the front)",
            );
            ordered.system.extend(turn.parts.into_iter().filter_map(text));
        } else if !turn.parts.is_empty() {
            ordered.take(turn);
        }
    }
    ordered.open(drops);
    ordered.close()
}

impl<'a> Alternating<'a> {
    fn take(&mut self, turn: Turn<'a>) {
        match self.turns.last_mut() {
            Some(last) if last.role == turn.role => last.parts.extend(turn.parts),
            Some(_) | None => self.turns.push(turn),
        }
    }

    fn open(&mut self, drops: &mut Drops) {
        if self
            .turns
            .first()
            .is_some_and(|turn| turn.role == Role::Assistant)
        {
            drops.name("messages[0].role (opening put before the assistant)");
            let opening = Turn {
                role: Role::User,
                parts: vec![Part::Text(OPENING.into())],
            };
            self.turns.insert(0, opening);
        }
    }

    /// Results of tools come first in their turn.
    fn close(mut self) -> Result<Self, Untranslatable> {
        for turn in &mut self.turns {
            turn.parts.sort_by_key(|part| !matches!(part, Part::Result(_)));
        }
        match self.turns.last().map(|turn| turn.role) {
            Some(Role::User) => Ok(self),
            Some(Role::Assistant | Role::System) => Err(PREFILLED),
            None => Err(Untranslatable {
                field: "messages",
                reason: "nothing is said",
            }),
        }
    }
}

/// Leaves only texts in the results of tools, for protocols that have no place for media there: they follow the results,
/// which is named.
pub(super) fn texts_in_results(turns: &mut [Turn<'_>], drops: &mut Drops) {
    for turn in turns {
        let mut moved = Vec::new();
        for part in &mut turn.parts {
            if let Part::Result(result) = part {
                let (texts, media) = core::mem::take(&mut result.parts)
                    .into_iter()
                    .partition(|part| matches!(part, Part::Text(_)));
                result.parts = texts;
                moved.extend::<Vec<_>>(media);
            }
        }
        drops.name_if(
            !moved.is_empty(),
            "messages[].content[].content[] (media moved behind the result)",
        );
        let last = turn
            .parts
            .iter()
            .rposition(|part| matches!(part, Part::Result(_)));
        let behind = last.map_or(0, |at| at.saturating_add(1));
        turn.parts.splice(behind..behind, moved);
    }
}

/// Some protocols would continue the assistant's words, others begin anew.
pub(super) const PREFILLED: Untranslatable = Untranslatable {
    field: "messages",
    reason: "ends with the assistant's words",
};

/// Text without a visible character, which Anthropic refuses.
fn is_blank(part: &Part<'_>) -> bool {
    matches!(part, Part::Text(text) if text.trim().is_empty())
}

/// A part's text, if it is one.
pub(super) fn text<'a>(part: Part<'a>) -> Option<Cow<'a, str>> {
    match part {
        Part::Text(text) => Some(text),
        Part::Media(_) | Part::Call(_) | Part::Result(_) => None,
    }
}

/// The names of the tools that were called, by the calls' ids.
pub(super) fn called<'t>(turns: &'t [Turn<'_>]) -> BTreeMap<&'t str, &'t str> {
    let calls = turns
        .iter()
        .flat_map(|turn| &turn.parts)
        .filter_map(|part| match part {
            Part::Call(call) => Some((&*call.id, &*call.name)),
            Part::Text(_) | Part::Media(_) | Part::Result(_) => None,
        });
    calls.collect()
}
