//! What an exchange's reservations are settled by: the caller's for all of its attempts, each provider's for its own.

use crate::ledger::{Actual, Admission, Certainty, Demand, Lesson, Request, Ticket};
use crate::policy::Mode;
use crate::report::metric::{Booking, Metric};
use crate::store::Store;

use super::Turn;
use super::callout::{Kept, Own};
use super::fleet;
use super::gateway::{Claims, Payer, THERE};
use super::settle::Cost;
use super::spent::Spent;

/// Settles an attempt that ends the exchange, and with it what its caller is charged for the calls before.
pub(super) fn settle_last<S: Store>(
    turn: &mut Turn<'_, S>,
    (ticket, kept): (Ticket, Option<Box<Kept>>),
    bill: Bill,
) {
    let cost = bill.cost;
    let Some((own, before)) = kept.and_then(|mut kept| Some((kept.take_own()?, kept.before()))) else {
        return settle(turn, ticket, bill);
    };
    settle_there(turn, ticket, cost);
    settle_own(turn, own, cost.and(before), bill.lesson);
}

/// Gives everything back: nothing was sent.
pub(super) fn give_back<S: Store>(turn: &mut Turn<'_, S>, ticket: Ticket) {
    write(turn, ticket, Actual::NOTHING);
}

/// Settles what was set aside with one provider: its tokens are counted where its caller is charged.
pub(super) fn settle_there<S: Store>(turn: &mut Turn<'_, S>, ticket: Ticket, cost: Cost) {
    let actual = Actual {
        requests: 1,
        tokens: cost.tokens(),
        lesson: Lesson::default(),
    };
    write(turn, ticket, actual);
}

/// Settles what was set aside with the caller's own limits.
pub(super) fn settle_own<S: Store>(turn: &mut Turn<'_, S>, own: Own, cost: Cost, lesson: Lesson) {
    turn.add(Metric::Tokens(Booking::Settled), cost.tokens());
    fleet::charge(turn, 1, cost.tokens());
    let mut over = cost.tokens().saturating_sub(own.first.reserved_tokens());
    let mut left = cost.tokens();
    for ticket in own.more {
        let tokens = over.min(ticket.reserved_tokens());
        over = over.saturating_sub(tokens);
        left = left.saturating_sub(tokens);
        let actual = Actual {
            requests: 0,
            tokens,
            lesson: Lesson::default(),
        };
        write(turn, ticket, actual);
    }
    let actual = Actual {
        requests: 1,
        tokens: left,
        lesson,
    };
    write(turn, own.first, actual);
}

/// What a ticket is settled by.
pub(super) struct Bill {
    pub(super) cost: Cost,
    pub(super) lesson: Lesson,
    /// Who answered.
    pub(super) provider: usize,
    /// What attempts before it cost.
    pub(super) spent: Option<Box<Spent>>,
}

fn settle<S: Store>(turn: &mut Turn<'_, S>, ticket: Ticket, bill: Bill) {
    let tokens = bill.cost.tokens();
    let actual = |requests, tokens| Actual {
        requests,
        tokens,
        lesson: bill.lesson,
    };
    let Some(spent) = bill.spent else {
        turn.add(Metric::Tokens(Booking::Settled), tokens);
        fleet::charge(turn, 1, tokens);
        return write(turn, ticket, actual(1, tokens));
    };
    let answer = (bill.provider, tokens);
    let (granted, own) = ticket.split(THERE);
    let charged = tokens.saturating_add(spent.charged());
    turn.add(Metric::Tokens(Booking::Settled), charged);
    fleet::charge(turn, 1, charged);
    write(turn, own, actual(1, charged));
    settle_providers(turn, granted, answer, &spent);
}

/// Settles what the router's attempts cost their providers, the answer's among them.
pub(super) fn settle_providers<S: Store>(
    turn: &mut Turn<'_, S>,
    granted: Ticket,
    answer: (usize, u64),
    spent: &Spent,
) {
    let actual = |(requests, tokens)| Actual {
        requests,
        tokens,
        lesson: Lesson::default(),
    };
    write(turn, granted, actual(spent.at(spent.first, answer)));
    for provider in spent.others(answer.0) {
        let who = spent.payer.as_deref().map(Payer::named);
        let claims = turn.gateway.claims_there(who, provider);
        book(turn, &claims, actual(spent.at(provider, answer)));
    }
}

/// Charges limits from which nothing was set aside.
fn book<S: Store>(turn: &mut Turn<'_, S>, claims: &Claims<'_>, actual: Actual) {
    if claims.claims.is_empty() {
        return;
    }
    let request = Request {
        claims: &claims.claims,
        habit: None,
        demand: Demand {
            around: actual.tokens,
            certainty: Certainty::Counted,
            ..Demand::default()
        },
        // What was sent was sent: it is charged whether it fits or not.
        mode: Mode::Shadow,
    };
    match turn
        .gateway
        .ledger
        .admit(turn.store, &request, turn.now.monotonic)
    {
        Admission::Granted(ticket) => write(turn, ticket, actual),
        Admission::Refused(refusal) => turn.effects.bookings.extend(refusal.pending),
        Admission::Never(_) | Admission::Unsure { .. } => {}
    }
}

fn write<S: Store>(turn: &mut Turn<'_, S>, ticket: Ticket, actual: Actual) {
    let settlement = turn
        .gateway
        .ledger
        .settle(turn.store, ticket, actual, turn.now.monotonic);
    if settlement.refunded > 0 {
        turn.add(Metric::Tokens(Booking::Refunded), settlement.refunded);
    }
    turn.effects.bookings.extend(settlement.pending);
}
