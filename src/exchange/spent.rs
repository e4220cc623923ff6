//! What the attempts of the host's router cost beside the one that answered.

use crate::policy::{Charge, Hop};

use super::attempt::Tried;
use super::gateway::Payer;

/// What attempts cost that were given up.
#[derive(Debug)]
pub(super) struct Spent {
    /// The provider whose limits were set aside from.
    pub(super) first: usize,
    /// The attempts that were given up: at whom, and how many tokens it is thought to have read.
    lost: Vec<(usize, u64)>,
    charge: Charge,
    /// Nobody was asked after them: the last of them was the exchange's last.
    pub(super) idle: bool,
    /// Who pays, where a limit of callers counts each provider by itself.
    pub(super) payer: Option<Box<Payer>>,
}

impl Spent {
    /// None where there was but one attempt, at the provider that was chosen.
    pub(super) fn of(
        (first, charge): (usize, Charge),
        tried: &[(Hop, Tried)],
        answering: usize,
    ) -> Option<Box<Self>> {
        let lost = tried.iter().filter(|(_, tried)| tried.gave_up.is_some());
        let lost: Vec<(usize, u64)> = lost.map(|(hop, tried)| (hop.provider, tried.prompt)).collect();
        let plain = lost.is_empty() && answering == first;
        (!plain).then(|| {
            Box::new(Self {
                first,
                lost,
                charge,
                idle: false,
                payer: None,
            })
        })
    }

    /// What the caller pays for beside the answer; where there was none, for the last attempt in any case.
    pub(super) fn charged(&self) -> u64 {
        match self.charge {
            Charge::All => self
                .lost
                .iter()
                .fold(0, |sum, (_, more)| sum.saturating_add(*more)),
            Charge::Final if self.idle => self.lost.last().map_or(0, |(_, tokens)| *tokens),
            Charge::Final => 0,
        }
    }

    /// What one provider was sent: requests and tokens, the answer's among them if it gave it.
    pub(super) fn at(&self, provider: usize, answer: (usize, u64)) -> (u64, u64) {
        let last = Some(answer).filter(|_| !self.idle);
        let all = self.lost.iter().copied().chain(last);
        let here = all.filter(|(at, _)| *at == provider);
        here.fold((0, 0), |(requests, tokens): (u64, u64), (_, more)| {
            (requests.saturating_add(1), tokens.saturating_add(more))
        })
    }

    /// Everybody who was asked, but the first; each once.
    pub(super) fn others(&self, answering: usize) -> Vec<usize> {
        let mut others: Vec<usize> = self.lost.iter().map(|(provider, _)| *provider).collect();
        others.push(answering);
        others.sort_unstable();
        others.dedup();
        others.retain(|provider| *provider != self.first);
        others
    }
}
