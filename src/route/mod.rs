//! Candidates of a model: filtered, ordered, chosen.
