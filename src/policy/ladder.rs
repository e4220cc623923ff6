//! What becomes of an answer that can't be trusted: a ladder of ways on, each tried in turn.
//!
//! ```yaml
//! on_invalid: [repair, {retry: 1}, fallback, {default: {items: []}}]
//! ```
//!
//! The invariant: a ladder ends with `default`, `reject` or `annotate`, which stand nowhere else, and holds each other
//! rung at most once.

use serde_json::Value;

use super::field::{Field, Reading};

/// What a rung may be.
const RUNGS: &str = "repair, {retry: 1}, fallback, {default: value}, reject, annotate";
/// More than a model's attempts can be made anyway.
const MOST_RETRIES: u32 = 4;

/// One way on.
#[derive(Clone, Debug, PartialEq)]
pub enum Rung {
    /// What is broken is mended without asking anybody. Counts only if the schema agrees.
    Repair,
    /// The same provider is told what is wrong and asked again, so many times.
    Retry(u32),
    /// The next candidate is asked.
    Fallback,
    /// This stands in the answer's place.
    Default(Value),
    /// 502 in the client's dialect; a stream ends with an error event.
    Reject,
    /// Passed on with a header that says so.
    Annotate,
}

impl Rung {
    /// Whether nothing can follow.
    #[must_use]
    pub fn ends(&self) -> bool {
        match self {
            Self::Default(_) | Self::Reject | Self::Annotate => true,
            Self::Repair | Self::Retry(_) | Self::Fallback => false,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
    }
}

/// The ways on, in the order they are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    rungs: Vec<Rung>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            rungs: vec![Rung::Reject],
        }
    }
}

impl Ladder {
    /// All of them; the last one [`Rung::ends`].
    #[must_use]
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// Whether all that ever happens is that the answer is annotated.
    #[must_use]
    pub fn only_annotates(&self) -> bool {
        self.rungs == [Rung::Annotate]
    }

    /// Whether an answer that nothing helped is passed on.
    #[must_use]
    pub fn passes_in_the_end(&self) -> bool {
        self.rungs.last() == Some(&Rung::Annotate)
    }

    /// Whether somebody may be asked again.
    #[must_use]
    pub fn asks(&self) -> bool {
        let asks = |rung: &Rung| matches!(rung, Rung::Retry(_) | Rung::Fallback);
        self.rungs.iter().any(asks)
    }

    /// What stands in for an answer that nothing helped.
    #[must_use]
    pub fn stand_in(&self) -> Option<&Value> {
        match self.rungs.last() {
            Some(Rung::Default(value)) => Some(value),
            Some(Rung::Repair | Rung::Retry(_) | Rung::Fallback | Rung::Reject | Rung::Annotate) | None => {
                None
            }
        }
    }
}

/// Reads `on_invalid`.
pub(super) fn ladder(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Ladder> {
    let items = field.items(r, "a list, such as [repair, reject]");
    if items.is_empty() {
        let told = !field.tree().is_array();
        if !told {
            field.refuse(r, "is empty", format!("one or more of {RUNGS}"));
        }
        return None;
    }
    let mut rungs: Vec<Rung> = Vec::new();
    for item in &items {
        let Some(rung) = rung(item, r) else { continue };
        if let Some(last) = rungs.last().filter(|last| last.ends()) {
            item.refuse(
                r,
                format!("stands after {}", word(last)),
                "nothing: that is the end",
            );
        } else if rungs.iter().any(|known| known.is_like(&rung)) {
            item.refuse(r, format!("is a second {}", word(&rung)), "each once");
        } else {
            rungs.push(rung);
        }
    }
    if !rungs.last().is_some_and(Rung::ends) {
        rungs.push(Rung::Reject);
    }
    Some(Ladder { rungs })
}

fn rung(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Rung> {
    if !field.tree().is_object() {
        return field.parsed(r, RUNGS, |text| match text {
            "repair" => Some(Rung::Repair),
            "retry" => Some(Rung::Retry(1)),
            "fallback" => Some(Rung::Fallback),
            "reject" => Some(Rung::Reject),
            "annotate" => Some(Rung::Annotate),
            _ => None,
        });
    }
    let section = field.section(r, &["retry", "default"]);
    let retries = section.get("retry").and_then(|f| f.small(r, 1..=MOST_RETRIES));
    // A default may be null, which elsewhere is as good as absent.
    let default = field.tree().get("default");
    match (retries, default) {
        (Some(times), None) => Some(Rung::Retry(times)),
        (None, Some(value)) if section.get("retry").is_none() => Some(Rung::Default(value.clone())),
        (Some(_), Some(_)) => {
            field.refuse(r, "is two rungs", "one: {retry: 1} or {default: value}");
            None
        }
        (None, None) if field.tree().as_object().is_some_and(serde_json::Map::is_empty) => {
            field.refuse(r, "is empty", RUNGS);
            None
        }
        (None, _) => None,
    }
}

fn word(rung: &Rung) -> &'static str {
    match rung {
        Rung::Repair => "repair",
        Rung::Retry(_) => "retry",
        Rung::Fallback => "fallback",
        Rung::Default(_) => "default",
        Rung::Reject => "reject",
        Rung::Annotate => "annotate",
    }
}
