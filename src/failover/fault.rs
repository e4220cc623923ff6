//! What went wrong with an attempt, and whether the policy gives it up for that.

use core::time::Duration;

use crate::policy::Failover;
use crate::report::metric::GaveUp;

/// What went wrong with an attempt, as long as nothing of its answer went to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection: the provider never saw the request.
    Connect,
    /// The connection broke before the answer began.
    Reset,
    /// No answer in time.
    Timeout,
    /// No first token in time.
    FirstToken,
    /// The stream began with an error.
    StreamError,
    /// The answer isn't one in its provider's protocol, and can't be translated.
    Malformed,
    /// The answer fails its validation.
    Invalid,
    /// An answer with this status, which asks to be left alone for so long, if it says so.
    Status(u16, Option<Duration>),
}

impl Fault {
    /// Why the policy gives the attempt up, if it does. `alone` says that only the same candidate could be asked again:
    /// a 429 of that one must ask for a wait that is short enough.
    #[must_use]
    pub fn gives_up(self, rules: &Failover, alone: bool) -> Option<GaveUp> {
        let on = &rules.on;
        let wanted = match self {
            Self::Connect => on.connect,
            Self::Reset => on.reset,
            Self::Timeout => on.timeout,
            Self::FirstToken => on.first_token,
            Self::StreamError => on.stream_error,
            // Nothing of a malformed answer can be told to the client; of an invalid one its rule's ladder has said so.
            Self::Malformed | Self::Invalid => true,
            Self::Status(429, wait) => {
                let short = wait.is_some_and(|wait| wait <= rules.retry_after_max);
                listed(rules, 429) && (short || !alone)
            }
            Self::Status(status, _) => listed(rules, status),
        };
        wanted.then(|| self.why())
    }

    /// What an attempt that is given up for it is said to have been given up for.
    #[must_use]
    pub fn why(self) -> GaveUp {
        match self {
            Self::Connect => GaveUp::Connect,
            Self::Reset => GaveUp::Reset,
            Self::Timeout | Self::FirstToken => GaveUp::Timeout,
            Self::StreamError => GaveUp::StreamError,
            Self::Malformed => GaveUp::Malformed,
            Self::Invalid => GaveUp::Invalid,
            Self::Status(429, _) => GaveUp::RateLimited,
            Self::Status(..) => GaveUp::Status,
        }
    }

    /// How long the provider asks to be left alone.
    #[must_use]
    pub fn asked(self) -> Option<Duration> {
        match self {
            Self::Status(_, wait) => wait,
            Self::Connect
            | Self::Reset
            | Self::Timeout
            | Self::FirstToken
            | Self::StreamError
            | Self::Malformed
            | Self::Invalid => None,
        }
    }

    /// Whether the provider may have read the prompt, and bill it, though it never said so.
    #[must_use]
    pub fn may_cost(self) -> bool {
        match self {
            Self::Reset
            | Self::Timeout
            | Self::FirstToken
            | Self::StreamError
            | Self::Malformed
            | Self::Invalid => true,
            Self::Connect | Self::Status(..) => false,
        }
    }
}

fn listed(rules: &Failover, status: u16) -> bool {
    rules.on.statuses.binary_search(&status).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_429_of_the_only_candidate_must_ask_for_a_short_wait() {
        let rules = Failover::default();
        let limited = |seconds: Option<u64>| Fault::Status(429, seconds.map(Duration::from_secs));
        for (wait, alone, given_up) in [
            (None, false, true),
            (Some(3_600), false, true),
            (None, true, false),
            (Some(5), true, true),
            (Some(6), true, false),
        ] {
            let found = limited(wait).gives_up(&rules, alone);
            assert_eq!(found, given_up.then_some(GaveUp::RateLimited), "{wait:?} {alone}");
        }
    }

    #[test]
    fn statuses_count_only_if_they_are_listed() {
        let rules = Failover::default();
        for status in [408, 500, 502, 503, 504, 529] {
            assert_eq!(
                Fault::Status(status, None).gives_up(&rules, true),
                Some(GaveUp::Status)
            );
        }
        for status in [400, 401, 404, 422, 501] {
            assert_eq!(Fault::Status(status, None).gives_up(&rules, false), None);
        }
    }

    #[test]
    fn each_cause_can_be_left_out_of_the_policy() {
        let mut rules = Failover::default();
        let causes = [
            Fault::Connect,
            Fault::Reset,
            Fault::Timeout,
            Fault::FirstToken,
            Fault::StreamError,
        ];
        assert!(causes.iter().all(|fault| fault.gives_up(&rules, true).is_some()));
        let on = &mut rules.on;
        (on.connect, on.reset, on.timeout, on.first_token, on.stream_error) =
            (false, false, false, false, false);
        assert!(causes.iter().all(|fault| fault.gives_up(&rules, false).is_none()));
    }
}
