//! Who is to blame for an end, by the host's own word for it (Envoy's `response.code_details`).
//!
//! The invariant: a provider is blamed only for what it did or left undone. What a client can bring about, and what
//! the proxy decided by itself, says nothing of it.

use core::time::Duration;

use crate::breaker::{Failure, Outcome};

/// How the host says that a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// To its end.
    Complete,
    /// The client hung up.
    ClientAbort,
    /// The provider broke off.
    UpstreamReset,
    /// Nothing moved for as long as the host waits, or it took longer in all than the host allows.
    Timeout,
    /// The host itself broke off, or nobody knows who did.
    Aborted,
}

impl Ending {
    /// How a stream ended that never came to its end.
    #[must_use]
    pub fn of(details: &[u8]) -> Self {
        let details = String::from_utf8_lossy(details);
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| details.starts_with(prefix));
        if begins(&["downstream", "http1.", "http2.", "http3."]) {
            Self::ClientAbort
        } else if details.contains("{overflow") {
            Self::Aborted
        } else if begins(&["upstream_reset"]) {
            Self::UpstreamReset
        } else if details.contains("timeout") || details.contains("duration") {
            Self::Timeout
        } else if begins(&["upstream"]) {
            Self::UpstreamReset
        } else {
            Self::Aborted
        }
    }

    /// Its name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientAbort => "client_abort",
            Self::UpstreamReset => "upstream_reset",
            Self::Timeout => "timeout",
            Self::Aborted => "aborted",
        }
    }
}

/// What a status says of the provider; none for a good one, whose end is to be awaited. `wait` is how long a 429 asks
/// us to stay away.
pub(super) fn of_status(status: u16, details: &[u8], wait: Option<Duration>) -> Option<Outcome> {
    let details = String::from_utf8_lossy(details);
    let of_provider = details.is_empty() || details == "via_upstream";
    Some(match status {
        200..300 => return None,
        _ if !of_provider => of_proxy(status, &details),
        429 => Outcome::RateLimited { wait },
        408 | 500.. => Outcome::Failure(Failure::Status(status)),
        _ => Outcome::Neutral,
    })
}

/// The proxy answered by itself, and says why.
fn of_proxy(status: u16, details: &str) -> Outcome {
    let any = |words: &[&str]| words.iter().any(|word| details.contains(word));
    if any(&["{overflow"]) {
        // The cluster's own thresholds.
        Outcome::Unsent
    } else if any(&[
        "connection_failure",
        "connection failure",
        "connection_timeout",
        "connection timeout",
        "no_healthy_upstream",
        "cluster_not_found",
    ]) {
        Outcome::Failure(Failure::Connect)
    } else if any(&["timeout", "duration"]) {
        Outcome::Failure(Failure::Timeout)
    } else if details.starts_with("upstream") {
        Outcome::Failure(Failure::Reset)
    } else if details.starts_with("fault_filter") {
        // Somebody rehearses the provider's failing.
        of_status(status, b"", None).unwrap_or(Outcome::Neutral)
    } else {
        Outcome::Unanswered
    }
}
