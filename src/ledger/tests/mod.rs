//! Scenarios of the whole ledger, and what its test suites share.

use core::time::Duration;

use crate::policy::{Limit, Mode, OnContention, Reserve, Unit};

/// `quota` tokens per `secs` seconds, as much at once, enforced.
pub(crate) fn limit(quota: u64, secs: u64) -> Limit {
    Limit {
        name: format!("{quota}/{secs}s"),
        id: quota ^ secs << 40,
        per: Vec::new(),
        unit: Unit::Tokens,
        quota,
        period: Duration::from_secs(secs),
        burst: quota,
        mode: Mode::Enforce,
        reserve: Reserve::Expected,
        on_contention: OnContention::Allow,
    }
}
