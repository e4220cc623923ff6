//! Why an attempt ended without an answer, by what the host still knows of it.
//!
//! The router resets an attempt that it gives up and tells nobody why (tried on Envoy 1.37 and 1.40), so that the reason is
//! what is left: no connection, or all of its time used up, or else the provider's own reset.

use core::time::Duration;

use crate::breaker::{Failure, Outcome};
use crate::report::metric::GaveUp;

use super::super::Ending;

/// The router's timers run by the clock as its loop last saw it.
const SLACK: Duration = Duration::from_millis(20);
/// The host's own thresholds refuse a request at once: whoever waited longer waited for a connection.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How an attempt without an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// By the provider's fault, or for lack of time.
    Lost(GaveUp),
    /// By the client, or by the proxy itself: says nothing of the provider.
    Nobodys,
    /// The host's own thresholds kept it from being sent.
    Unsent,
}

impl Unanswered {
    /// Reads what the host knows. `patience` is how long the router waits for an attempt, `waited` how long this one took.
    pub(super) fn of(
        property: &dyn Fn(&[&str]) -> Option<Vec<u8>>,
        patience: Option<Duration>,
        waited: Duration,
    ) -> Self {
        let details = property(&["response", "code_details"]).unwrap_or_default();
        let known = !details.is_empty() && details != b"via_upstream";
        match Ending::of(&details) {
            Ending::Timeout => return Self::Lost(GaveUp::Timeout),
            Ending::ClientAbort | Ending::Aborted if known => return Self::Nobodys,
            Ending::Complete | Ending::UpstreamReset | Ending::ClientAbort | Ending::Aborted => {}
        }
        let connected = property(&["upstream", "local_address"]).is_some_and(|address| !address.is_empty());
        if !connected {
            return Self::unconnected(property, waited);
        }
        let out_of_time = patience.is_some_and(|patience| waited.saturating_add(SLACK) >= patience);
        Self::Lost(if out_of_time {
            GaveUp::Timeout
        } else {
            GaveUp::Reset
        })
    }

    /// The host's own thresholds keep a request from connecting too, and give no reason. Nor does a connection that wasn't
    /// made in time (tried on Envoy 1.40): but that takes its time.
    fn unconnected(property: &dyn Fn(&[&str]) -> Option<Vec<u8>>, waited: Duration) -> Self {
        let reason = property(&["upstream", "transport_failure_reason"]);
        match reason.is_some_and(|reason| !reason.is_empty()) || waited >= AT_ONCE {
            true => Self::Lost(GaveUp::Connect),
            false => Self::Unsent,
        }
    }

    /// What the breaker is told.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Lost(GaveUp::Connect) => Outcome::Failure(Failure::Connect),
            Self::Lost(GaveUp::Timeout) => Outcome::Failure(Failure::Timeout),
            Self::Lost(
                GaveUp::Reset
                | GaveUp::RateLimited
                | GaveUp::Status
                | GaveUp::StreamError
                | GaveUp::Malformed
                | GaveUp::Invalid,
            ) => Outcome::Failure(Failure::Reset),
            Self::Nobodys => Outcome::Unanswered,
            Self::Unsent => Outcome::Unsent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(properties: &[(&str, &str)], waited_ms: u64) -> Unanswered {
        let property = |path: &[&str]| {
            let name = path.join(".");
            let found = properties.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_bytes().to_vec())
        };
        let patience = Duration::from_millis(300);
        Unanswered::of(&property, Some(patience), Duration::from_millis(waited_ms))
    }

    #[test]
    fn what_is_left_of_a_lost_attempt_tells_why() {
        let connected = ("upstream.local_address", "127.0.0.1:1");
        let refused = (
            "upstream.transport_failure_reason",
            "delayed connect error: Connection refused",
        );
        let details = |text| ("response.code_details", text);
        let lost = Unanswered::Lost;
        type Row<'t> = (Vec<(&'t str, &'t str)>, u64, Unanswered);
        let table: [Row<'_>; 9] = [
            (vec![refused], 1, lost(GaveUp::Connect)),
            (vec![], 1, Unanswered::Unsent),
            (vec![], 200, lost(GaveUp::Connect)),
            (vec![connected], 1, lost(GaveUp::Reset)),
            (vec![connected], 281, lost(GaveUp::Timeout)),
            (
                vec![connected, details("via_upstream")],
                301,
                lost(GaveUp::Timeout),
            ),
            (vec![connected, details("via_upstream")], 1, lost(GaveUp::Reset)),
            (
                vec![connected, details("response_timeout")],
                1,
                lost(GaveUp::Timeout),
            ),
            (
                vec![connected, details("downstream_remote_disconnect")],
                999,
                Unanswered::Nobodys,
            ),
        ];
        for (properties, waited, expected) in table {
            assert_eq!(told(&properties, waited), expected, "{properties:?} {waited}");
        }
    }
}
