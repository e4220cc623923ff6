//! The `jsonschema` crate behind functions without type parameters.
//!
//! It is generic over how JSON is represented, so its code is made in whichever crate calls it, at that crate's
//! optimization level. Called from here it can be built for size while Spillway is built for speed: that makes
//! 1.6 MB less of the module. The invariant: nothing generic of `jsonschema` is named outside of this crate.

#![forbid(unsafe_code)]

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions};
use serde_json::Value;

/// A compiled pattern's size. Also far below where the engine's bounded matcher gives up (rust-lang/regex#1344).
const PATTERN_BYTES: usize = 1 << 20;
/// What matching may keep of each pattern's automaton; it is thrown away and begun anew when full.
const AUTOMATON_BYTES: usize = 1 << 18;

/// A compiled schema.
#[derive(Debug)]
pub struct Validator(jsonschema::Validator);

impl Validator {
    /// Compiles a schema: `format` is asserted, patterns match in linear time, nothing is fetched.
    ///
    /// # Errors
    /// When it isn't a schema of its draft or can't be used so.
    pub fn compile(schema: &Value) -> Result<Self, Fault> {
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(AUTOMATON_BYTES);
        let options = jsonschema::options().offline().should_validate_formats(true);
        let built = options.with_pattern_options(patterns).build(schema);
        built.map(Self).map_err(|error| Fault {
            place: error.instance_path().as_str().to_owned(),
            kind: match error.kind() {
                ValidationErrorKind::Format { format } if format == "regex" => FaultKind::Pattern,
                ValidationErrorKind::Referencing(_) => FaultKind::Reference,
                ValidationErrorKind::AnyOf { .. } => FaultKind::Choice,
                _ => FaultKind::Other,
            },
            message: match error.kind() {
                ValidationErrorKind::Referencing(cause) => cause.to_string(),
                _ => error.to_string(),
            },
        })
    }

    /// Whether a value matches.
    #[must_use]
    pub fn accepts(&self, instance: &Value) -> bool {
        self.0.is_valid(instance)
    }

    /// Where it doesn't, at most `most` places. All of them are found before any is left out.
    #[must_use]
    pub fn failures(&self, instance: &Value, most: usize) -> Vec<Failure> {
        let errors = self.0.iter_errors(instance).take(most);
        let failures = errors.map(|error| Failure {
            pointer: error.instance_path().as_str().to_owned(),
            keyword: error.kind().keyword().to_owned(),
            missing: match error.kind() {
                ValidationErrorKind::Required { property } => property.as_str().map(str::to_owned),
                _ => None,
            },
        });
        failures.collect()
    }
}

/// Whether a `$schema` names a draft that is known here: 2020-12, 2019-09, 7, 6 or 4.
#[must_use]
pub fn is_known_draft(uri: &str) -> bool {
    Draft::from_schema_uri(uri) != Draft::Unknown
}

/// Why a schema doesn't compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON Pointer into the schema; empty for a reference.
    pub place: String,
    /// What sort of fault it is.
    pub kind: FaultKind,
    /// The library's words, which quote the schema.
    pub message: String,
}

/// Sorts of faults that are worth telling apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A pattern that isn't one, looks around, refers back, or is too large.
    Pattern,
    /// A reference that leads nowhere or outside.
    Reference,
    /// A keyword's value is none of those it may have.
    Choice,
    /// Anything else.
    Other,
}

/// One place at which a value fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// JSON Pointer into the value, names of the value included.
    pub pointer: String,
    /// The keyword that isn't met.
    pub keyword: String,
    /// The member that `required` misses.
    pub missing: Option<String>,
}
