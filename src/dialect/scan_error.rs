//! What is wrong with a request, in words that its sender can act on.

use core::fmt;

use crate::json::{self, Fault};

/// Why a body can't be read; its `Display` is meant for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// Not JSON in UTF-8 from this byte on (or ended there).
    NotJson {
        /// Offset in the body.
        at: usize,
    },
    /// JSON, but no object.
    NotObject,
    /// Nested deeper than [`json::MAX_DEPTH`].
    TooDeep,
    /// A member that must be there isn't.
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A member isn't what it must be.
    Invalid {
        /// Its name.
        field: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// A member comes twice: provider and filter might read different ones.
    Duplicate {
        /// Its name.
        field: &'static str,
    },
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson { at } => write!(f, "body is not JSON: cannot be read on at byte {at}"),
            Self::NotObject => f.write_str("body is not a JSON object"),
            Self::TooDeep => write!(f, "body is nested more than {} deep", json::MAX_DEPTH),
            Self::Missing { field } => write!(f, "{field}: missing"),
            Self::Invalid { field, allowed } => write!(f, "{field}: must be {allowed}"),
            Self::Duplicate { field } => write!(f, "{field}: given twice"),
        }
    }
}

impl std::error::Error for ScanError {}

impl From<Fault> for ScanError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax { at } => Self::NotJson { at },
            Fault::TooDeep => Self::TooDeep,
        }
    }
}
