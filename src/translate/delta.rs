//! What one event of a stream adds to an answer, whatever the protocol.

use std::borrow::Cow;

use super::error::{Failure, Kind};
use super::reply::Stop;
use crate::dialect::Usage;

/// A step of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Delta<'e> {
    /// The answer begins.
    Begun,
    /// More text.
    Text(Cow<'e, str>),
    /// A call begins; slots count from 0.
    Call {
        slot: u64,
        id: Cow<'e, str>,
        name: Cow<'e, str>,
    },
    /// More of a call's arguments.
    Arguments { slot: u64, text: Cow<'e, str> },
    /// All is said, for this reason. The last one counts.
    Stop(Stop<'static>),
    /// What it cost up to here.
    Usage(Usage),
    /// The stream ended as its protocol ends.
    Done,
}

/// A stream that can't go on.
pub(super) type Broken<'e> = Failure<'e>;

/// A stream that isn't what its protocol says.
pub(super) fn broken(message: &'static str) -> Broken<'static> {
    Failure {
        kind: Kind::Internal,
        message: Cow::Borrowed(message),
    }
}
