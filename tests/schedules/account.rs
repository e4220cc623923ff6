//! A worker that asks limits and settles with them by a script, and the books that it keeps for the checks.

use core::time::Duration;

use spillway::ledger::{
    Actual, Admission, Claim, Demand, HashKey, Key, Ledger, Lesson, Pending, Request, Ticket,
};
use spillway::policy::{Limit, Mode, OnContention, Reserve, Scope, Unit};
use spillway::store::Store;
use spillway::time::Instant;

use crate::explorer::{Desk, Program, Records, Seen, Shelf};

/// At most so many limits in a scenario.
pub(crate) const MOST_LIMITS: usize = 3;

/// When everything happens that isn't told another time.
pub(crate) const NOW: Instant = Instant(1_000_000_000_000);

/// `quota` tokens per as many seconds: a token is a second.
pub(crate) fn limit(quota: u64) -> Limit {
    Limit {
        name: format!("{quota}"),
        id: quota,
        per: Vec::new(),
        unit: Unit::Tokens,
        quota,
        period: Duration::from_secs(quota),
        burst: quota,
        scope: Scope::Proxy,
        mode: Mode::Enforce,
        reserve: Reserve::Max,
        on_contention: OnContention::Allow,
    }
}

/// The limits of a scenario, and which bucket of each its workers use.
pub(crate) struct Lab {
    pub(crate) ledger: Ledger,
    pub(crate) limits: Vec<Limit>,
    pub(crate) keys: Vec<Key>,
}

impl Lab {
    /// Each limit's bucket is of this owner: limits of one owner share a page.
    pub(crate) fn new(limits: Vec<Limit>, owners: &[&str]) -> Self {
        let ledger = Ledger::new(HashKey::from_text("test"), 16_384);
        let named = limits.iter().zip(owners);
        let keys = named
            .map(|(limit, owner)| ledger.key(limit, owner.as_bytes(), &[]))
            .collect();
        Self { ledger, limits, keys }
    }

    /// A worker that follows a script, and flushes at its end what is pending until it is written.
    pub(crate) fn worker<'a>(&'a self, script: &'a [Act]) -> Program<'a, Account> {
        Box::new(move |desk| Clerk::new(self, desk).work(script))
    }

    /// Seconds that each bucket has until it is full: the tokens that it is charged with.
    pub(crate) fn charged(&self, records: &Records, now: Instant) -> Vec<u64> {
        let store = Shelf::of(records);
        let buckets = self.limits.iter().zip(&self.keys);
        let full = buckets.map(|(limit, key)| self.ledger.level(&store, limit, *key, now).reset);
        full.map(|span| span.as_secs() + u64::from(span.subsec_nanos() > 0))
            .collect()
    }

    /// The request of one ask.
    pub(crate) fn claims(&self, which: &[usize]) -> Vec<Claim<'_>> {
        let claim = |at: &usize| Claim {
            limit: &self.limits[*at],
            key: self.keys[*at],
            group: 0,
        };
        which.iter().map(claim).collect()
    }

    /// Asks for exactly so many tokens.
    pub(crate) fn ask(&self, store: &impl Store, which: &[usize], tokens: u64, now: Instant) -> Admission {
        let claims = self.claims(which);
        let demand = Demand {
            max_output: Some(tokens),
            choices: 1,
            generates: true,
            ..Demand::default()
        };
        let request = Request {
            claims: &claims,
            habit: None,
            demand,
            mode: Mode::Enforce,
        };
        self.ledger.admit(store, &request, now)
    }
}

/// What a worker does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Asks these limits for so many tokens.
    Ask(&'static [usize], u64),
    /// Settles the oldest ticket by so many tokens; nothing if there is none.
    Use(u64),
    /// Gives the oldest ticket back.
    Cancel,
    /// So many seconds pass.
    Wait(u64),
}

/// What a worker has done to each limit, as it knows: the store may be anywhere between `low` and `high`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) low: [u64; MOST_LIMITS],
    pub(crate) high: [u64; MOST_LIMITS],
    /// What was promised to it and not given back: of open tickets what was set aside, of settled ones what was used.
    pub(crate) promised: [u64; MOST_LIMITS],
    pub(crate) granted: usize,
    pub(crate) refused: usize,
    /// Refusals and grants that a busy or silent store explains.
    pub(crate) contended: usize,
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    which: &'static [usize],
    tokens: u64,
    counted: bool,
}

struct Clerk<'a, 'd> {
    lab: &'a Lab,
    desk: &'a Desk<'d, Account>,
    now: Instant,
    held: Vec<Held>,
    pending: Vec<Pending>,
    truth: [u64; MOST_LIMITS],
    account: Account,
}

impl<'a, 'd> Clerk<'a, 'd> {
    fn new(lab: &'a Lab, desk: &'a Desk<'d, Account>) -> Self {
        Self {
            lab,
            desk,
            now: NOW,
            held: Vec::new(),
            pending: Vec::new(),
            truth: [0; MOST_LIMITS],
            account: Account::default(),
        }
    }

    fn work(&mut self, script: &[Act]) {
        for (at, act) in script.iter().enumerate() {
            match act {
                Act::Ask(which, tokens) => self.ask(which, *tokens),
                Act::Use(tokens) => self.settle(Some(*tokens)),
                Act::Cancel => self.settle(None),
                Act::Wait(secs) => self.now = self.now.after(Duration::from_secs(*secs)),
            }
            self.say();
            self.mark(at);
        }
        while !self.pending.is_empty() {
            self.flush();
        }
    }

    fn ask(&mut self, which: &'static [usize], tokens: u64) {
        which.iter().for_each(|at| self.account.high[*at] += tokens);
        self.say();
        match self.lab.ask(self.desk, which, tokens, self.now) {
            Admission::Granted(ticket) => self.granted(ticket, which, tokens),
            Admission::Refused(refusal) => {
                self.account.refused += 1;
                self.account.contended += usize::from(refusal.contention);
                self.pending.extend(refusal.pending);
            }
            Admission::Never(_) | Admission::Unsure { .. } => panic!("it was counted, and it fits"),
        }
        self.close();
    }

    fn granted(&mut self, mut ticket: Ticket, which: &'static [usize], tokens: u64) {
        self.account.granted += 1;
        self.pending.extend(ticket.take_pending());
        let counted = ticket.contended() == 0;
        if counted {
            which.iter().for_each(|at| self.truth[*at] += tokens);
            which.iter().for_each(|at| self.account.promised[*at] += tokens);
        }
        self.account.contended += usize::from(!counted);
        self.held.push(Held {
            ticket,
            which,
            tokens,
            counted,
        });
    }

    /// By so many tokens, or as if nothing had been sent.
    fn settle(&mut self, used: Option<u64>) {
        if self.held.is_empty() {
            return;
        }
        let Held {
            ticket,
            which,
            tokens,
            counted,
        } = self.held.remove(0);
        let (used, aside) = (used.unwrap_or(0), if counted { tokens } else { 0 });
        for at in which {
            self.truth[*at] = self.truth[*at] - aside + used;
            self.account.promised[*at] -= aside.saturating_sub(used);
            self.account.low[*at] = self.account.low[*at].saturating_sub(aside.saturating_sub(used));
            self.account.high[*at] += used.saturating_sub(aside);
        }
        self.desk.say_next(self.account);
        let actual = Actual {
            requests: 1,
            tokens: used,
            lesson: Lesson::default(),
        };
        let settled = self.lab.ledger.settle(self.desk, ticket, actual, self.now);
        self.pending.extend(settled.pending);
        self.close();
    }

    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for one in pending {
            self.pending
                .extend(self.lab.ledger.flush(self.desk, one, self.now).err());
        }
        self.close();
        self.say();
        self.mark(usize::MAX);
    }

    /// Tells all that this worker knows; how many races it has lost, nothing depends on.
    fn mark(&self, at: usize) {
        let Self {
            held,
            pending,
            now,
            truth,
            account,
            ..
        } = self;
        let known = format!("{at} {held:?} {pending:?} {now:?} {truth:?} {account:?}");
        let told: Vec<_> = known
            .split("conflicts: ")
            .map(|part| part.trim_start_matches(char::is_numeric))
            .collect();
        self.desk.mark(told.concat());
    }

    /// Once nothing is under way, what is in the store is what should be there.
    fn close(&mut self) {
        if self.pending.is_empty() && self.held.iter().all(|held| held.counted) {
            (self.account.low, self.account.high) = (self.truth, self.truth);
        }
    }

    fn say(&self) {
        self.desk.say(self.account);
    }
}

/// The newest word of each worker, added up.
pub(crate) fn sum(workers: &[Seen<'_, Account>]) -> Account {
    let newest = workers.iter().filter_map(|worker| worker.said);
    newest.fold(Account::default(), |sum, account| {
        let both = |one: [u64; MOST_LIMITS], other: [u64; MOST_LIMITS]| {
            core::array::from_fn(|at| one[at] + other[at])
        };
        Account {
            low: both(sum.low, account.low),
            high: both(sum.high, account.high),
            promised: both(sum.promised, account.promised),
            granted: sum.granted + account.granted,
            refused: sum.refused + account.refused,
            contended: sum.contended + account.contended,
        }
    })
}

/// On a clock that stands still: no more is promised than there is, and the store has what the books say.
pub(crate) fn balanced(lab: &Lab, charged: &[u64], workers: &[Seen<'_, Account>]) -> Result<Account, String> {
    let sum = sum(workers);
    for (at, limit) in lab.limits.iter().enumerate() {
        let (low, high, found) = (sum.low[at], sum.high[at], charged[at]);
        if sum.promised[at] > limit.burst {
            return Err(format!("{} of {} promised", sum.promised[at], limit.burst));
        }
        if !(low..=high).contains(&found) {
            return Err(format!(
                "limit {at} is charged {found}, which isn't within {low}–{high}"
            ));
        }
    }
    Ok(sum)
}
