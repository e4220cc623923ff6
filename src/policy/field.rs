//! Typed readers over the document's tree, each of which knows its path.
//!
//! A reader that finds something wrong notes it and answers nothing, so that one load tells everything that is wrong.
//! The invariant: whatever a reader answers is valid, and a policy is only made of what was read without a problem.

use core::ops::RangeInclusive;
use core::time::Duration;

use serde_json::{Map, Value};

use super::edition::Edition;
use super::environment::Environment;
use super::error::{PolicyError, Problem, item, list, member, quote};
use super::quantity;

/// One load: for which edition, where secrets come from, and what was found wrong so far.
pub(super) struct Reading<'e> {
    pub(super) edition: Edition,
    pub(super) environment: &'e dyn Environment,
    problems: Vec<Problem>,
}

impl<'e> Reading<'e> {
    pub(super) fn new(edition: Edition, environment: &'e dyn Environment) -> Self {
        Self {
            edition,
            environment,
            problems: Vec::new(),
        }
    }

    /// Notes that the field at `path` is wrong, and what it may be.
    pub(super) fn refuse(&mut self, path: &str, wrong: impl Into<String>, allowed: impl Into<String>) {
        self.problems.push(Problem {
            path: path.to_owned(),
            wrong: wrong.into(),
            allowed: allowed.into(),
        });
    }

    /// What was read, if nothing was wrong.
    pub(super) fn finish<T>(self, read: T) -> Result<T, PolicyError> {
        match PolicyError::of_all(self.problems) {
            Some(error) => Err(error),
            None => Ok(read),
        }
    }
}

/// A value of the document and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field<'v> {
    pub(super) path: String,
    value: &'v Value,
}

impl<'v> Field<'v> {
    /// The whole document.
    pub(super) fn root(value: &'v Value) -> Self {
        Self {
            path: String::new(),
            value,
        }
    }

    /// The tree below, as it is.
    pub(super) fn tree(&self) -> &'v Value {
        self.value
    }

    /// Notes that this field is wrong.
    pub(super) fn refuse(&self, r: &mut Reading<'_>, wrong: impl Into<String>, allowed: impl Into<String>) {
        r.refuse(&self.path, wrong, allowed);
    }

    /// Notes that this field is of the wrong type, without saying its value, and answers nothing.
    pub(super) fn mistyped<T>(&self, r: &mut Reading<'_>, allowed: &str) -> Option<T> {
        let path = if self.path.is_empty() {
            "policy"
        } else {
            &self.path
        };
        r.refuse(path, format!("is {}", kind(self.value)), allowed);
        None
    }

    /// A text, taken as it stands.
    pub(super) fn text(&self, r: &mut Reading<'_>, allowed: &str) -> Option<&'v str> {
        self.value.as_str().or_else(|| self.mistyped(r, allowed))
    }

    /// A text that `parse` understands. What it doesn't is quoted: not for secrets.
    pub(super) fn parsed<T>(
        &self,
        r: &mut Reading<'_>,
        allowed: &str,
        parse: impl FnOnce(&'v str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(r, allowed)?;
        let parsed = parse(text);
        if parsed.is_none() {
            self.refuse(r, format!("is {}", quote(text)), allowed);
        }
        parsed
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, r: &mut Reading<'_>, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        self.parsed(r, &list(&names), |text| {
            words
                .iter()
                .find(|(name, _)| *name == text)
                .map(|(_, value)| *value)
        })
    }

    /// True or false.
    pub(super) fn flag(&self, r: &mut Reading<'_>) -> Option<bool> {
        self.value.as_bool().or_else(|| self.mistyped(r, "true, false"))
    }

    /// A whole number in the range.
    pub(super) fn whole(&self, r: &mut Reading<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let allowed = match range.start() == range.end() {
            true => range.start().to_string(),
            false => format!("a whole number from {} to {}", range.start(), range.end()),
        };
        match self.value {
            Value::Number(number) => {
                let found = number.as_u64().filter(|n| range.contains(n));
                if found.is_none() {
                    self.refuse(r, format!("is {number}"), allowed);
                }
                found
            }
            _ => self.mistyped(r, &allowed),
        }
    }

    /// As [`Self::whole`], for what is a `u32` in the policy.
    pub(super) fn small(&self, r: &mut Reading<'_>, range: RangeInclusive<u32>) -> Option<u32> {
        let found = self.whole(r, u64::from(*range.start())..=u64::from(*range.end()))?;
        u32::try_from(found).ok()
    }

    /// A number that `holds`.
    pub(super) fn number(
        &self,
        r: &mut Reading<'_>,
        allowed: &str,
        holds: impl FnOnce(f64) -> bool,
    ) -> Option<f64> {
        match self.value.as_f64().or_else(|| fraction(self.value)) {
            None => self.mistyped(r, allowed),
            Some(number) if number.is_finite() && holds(number) => Some(number),
            Some(_) => {
                self.refuse(r, format!("is {}", self.value), allowed);
                None
            }
        }
    }

    /// A share of a whole: a number from 0 to 1, or a percentage as text. Answers the number.
    pub(super) fn share(&self, r: &mut Reading<'_>) -> Option<f64> {
        const SHARE: &str = "a share, such as 5 % or 0.05";
        let holds = |share: &f64| (0.0..=1.0).contains(share);
        if !self.value.is_string() {
            return self.number(r, SHARE, |share| holds(&share));
        }
        self.parsed(r, SHARE, |text| {
            let share = match text.strip_suffix('%') {
                Some(percent) => decimal(percent.trim_end())? / 100.0,
                None => decimal(text)?,
            };
            Some(share).filter(holds)
        })
    }

    /// A span of time in the range.
    pub(super) fn duration(&self, r: &mut Reading<'_>, range: RangeInclusive<Duration>) -> Option<Duration> {
        let allowed = format!(
            "{}; from {:?} to {:?}",
            quantity::DURATION,
            range.start(),
            range.end()
        );
        self.parsed(r, &allowed, |text| {
            quantity::duration(text).filter(|span| range.contains(span))
        })
    }

    /// The items of a list; none when it isn't one.
    pub(super) fn items(&self, r: &mut Reading<'_>, allowed: &str) -> Vec<Field<'v>> {
        let items = self.value.as_array().or_else(|| self.mistyped(r, allowed));
        let place = |(index, value)| Field {
            path: item(&self.path, index),
            value,
        };
        items.into_iter().flatten().enumerate().map(place).collect()
    }

    /// The members of a map whose names the operator chooses, in the order of the names; none when it isn't one.
    pub(super) fn entries(&self, r: &mut Reading<'_>, allowed: &str) -> Vec<(&'v str, Field<'v>)> {
        let members = self.value.as_object().or_else(|| self.mistyped(r, allowed));
        let place = |(name, value): (&'v String, &'v Value)| {
            (
                name.as_str(),
                Field {
                    path: member(&self.path, name),
                    value,
                },
            )
        };
        let mut entries: Vec<_> = members.into_iter().flatten().map(place).collect();
        entries.sort_by_key(|(name, _)| *name);
        entries
    }

    /// An object with no other fields than these.
    pub(super) fn section(&self, r: &mut Reading<'_>, fields: &[&str]) -> Section<'v> {
        let members = match self.value {
            // `gpt-4o:` with nothing after it, in YAML.
            Value::Null => None,
            value => value
                .as_object()
                .or_else(|| self.mistyped(r, &format!("an object with {}", fields.join(", ")))),
        };
        for name in members.into_iter().flat_map(Map::keys) {
            if !fields.contains(&name.as_str()) {
                r.refuse(&member(&self.path, name), "unknown field", fields.join(", "));
            }
        }
        let readable = members.is_some() || self.value.is_null();
        Section {
            path: self.path.clone(),
            members,
            readable,
        }
    }
}

/// An object of the document.
#[derive(Clone, Debug)]
pub(super) struct Section<'v> {
    pub(super) path: String,
    members: Option<&'v Map<String, Value>>,
    /// Whether it is an object at all; that it isn't was told.
    pub(super) readable: bool,
}

impl<'v> Section<'v> {
    /// The path of a member, there or not.
    pub(super) fn path_of(&self, name: &str) -> String {
        member(&self.path, name)
    }

    /// The member, if it is there. `null` is as good as absent.
    pub(super) fn get(&self, name: &str) -> Option<Field<'v>> {
        let value = self.members?.get(name).filter(|value| !value.is_null())?;
        Some(Field {
            path: self.path_of(name),
            value,
        })
    }

    /// The member, which must be there.
    pub(super) fn require(&self, name: &str, r: &mut Reading<'_>, allowed: &str) -> Option<Field<'v>> {
        let found = self.get(name);
        // Of something that isn't even an object, that alone is told.
        if found.is_none() && self.readable {
            r.refuse(&self.path_of(name), "is missing", allowed);
        }
        found
    }

    /// What `read` makes of the member; `default` when it isn't there.
    pub(super) fn or<T>(&self, name: &str, default: T, read: impl FnOnce(Field<'v>) -> Option<T>) -> T {
        self.get(name).and_then(read).unwrap_or(default)
    }
}

/// A fraction written as text: what Envoy's YAML reader makes of one on its way into a `google.protobuf.Struct`.
fn fraction(value: &Value) -> Option<f64> {
    decimal(value.as_str()?)
}

/// Digits with at most one point, and nothing else.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

/// What a value is, without saying what it holds.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
