//! Verdicts on answers, as they are counted.

use super::words::words;

/// The verdict on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checked {
    /// It matches.
    Valid,
    /// It is JSON, and doesn't match.
    Invalid,
    /// It isn't JSON.
    NotJson,
    /// The model refused.
    Refusal,
    /// The provider's content filter stopped it.
    Filtered,
    /// Cut by its length.
    Truncated,
    /// Nothing in it.
    Empty,
    /// Several choices.
    Several,
    /// Tool calls, no text.
    ToolCalls,
    /// Too long, encoded or broken off: not checked.
    Unchecked,
    /// It matches, now that it was mended or a field put back to its bound.
    Repaired,
    /// It matches, and is a second answer.
    Retried,
    /// The policy's default stands in its place.
    Defaulted,
}

/// What became of a rule across an answer's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruled {
    /// It holds.
    Held,
    /// It doesn't, or can't be judged.
    Broken,
    /// It holds, now that a field was put back to its bound.
    Clamped,
}

/// What became of the claims of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimed {
    /// It stands in the context.
    Found,
    /// It doesn't.
    Missing,
    /// Nobody knows: there was too much to look for.
    Unknown,
}

words!(Checked {
    Valid => "valid", Invalid => "invalid", NotJson => "not_json", Refusal => "refusal", Filtered => "filtered",
    Truncated => "truncated", Empty => "empty", Several => "several", ToolCalls => "tool_calls",
    Unchecked => "unchecked", Repaired => "repaired", Retried => "retried", Defaulted => "defaulted",
});
words!(Ruled { Held => "held", Broken => "broken", Clamped => "clamped" });
words!(Claimed { Found => "found", Missing => "missing", Unknown => "unknown" });
