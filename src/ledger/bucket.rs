//! What happens to a bucket on its page: reserve, charge, refund.
//!
//! How much of a reservation may be given back at its end is the delicate part. Once some of it has refilled by time,
//! giving that back too would erase the use of whoever came after. Of a reservation that found the backlog `before`,
//! moved the bucket by `moved` and ends `elapsed` later, at most `before + moved − elapsed` hasn't refilled. But when
//! reservations ahead of it were refunded meanwhile, its own refill began earlier, by as much: so that is taken off too.
//! Who was ahead isn't known; what is known is how much was refunded to the bucket since (its counter), and that
//! those ahead had no more than `before` to get back:
//!
//! ```text
//! refund ≤ before + moved − elapsed − min(refunded since, before)
//! ```
//!
//! On a clock that stands still this never bites (the last term is at most `before`), so the bucket ends at exactly
//! the sum of what was used.
//!
//! Invariant: a bucket's TAT is never earlier than if every exchange had been charged what it used when it began, and
//! what it used beyond its reservation when it ended.

use super::demand::Units;
use super::page::{Overflow, Page, Place, Slot, refunded_between};
use super::settle::Adjustment;
use super::ticket::Reservation;
use crate::time::Instant;

impl Page {
    /// Tries to set `reservation.units` aside and notes in it what became of that. A binding reservation that doesn't
    /// fit leaves the page as it is; one in shadow takes what there is.
    pub(super) fn reserve(&mut self, reservation: &mut Reservation, now: Instant) {
        let (rate, binding) = (reservation.rate, reservation.binding);
        let place = self.place(reservation.key.fingerprint, now);
        let before = self.standing(place, reservation, now);
        let lacks = |units| {
            let wanted = before.saturating_add(rate.cost(units));
            wanted.saturating_sub(rate.capacity())
        };
        let Units { units, least, most } = reservation.units;
        let (wanted, wait) = (before.saturating_add(rate.cost(units)), lacks(units));
        reservation.unsure = least < most && lacks(least) == 0 && lacks(most) > 0;
        let after = match (wait, binding) {
            (0, _) => wanted,
            (_, true) => before,
            (_, false) => before.max(rate.capacity()),
        };
        (reservation.at, reservation.before, reservation.wait) = (now, before, wait);
        (reservation.moved, reservation.slot, reservation.contended) = (0, Slot::Nowhere, false);
        if after > before && (binding || place != Place::Overflow) {
            reservation.moved = after - before;
            reservation.slot = self.hold(place, reservation, now);
        }
    }

    /// Moves the reservation's bucket as it says.
    fn hold(&mut self, place: Place, reservation: &Reservation, now: Instant) -> Slot {
        let (rate, moved) = (reservation.rate, reservation.moved);
        match place {
            Place::Own(_) | Place::New(_) => {
                let after = reservation.before.saturating_add(moved);
                self.set(place, (reservation.key.fingerprint, rate), after, now)
            }
            Place::Overflow => self.share(rate.ns(moved), now),
        }
    }

    /// Charges and refunds what one admission's reservations on this page differ from what was used.
    pub(super) fn adjust(&mut self, group: &mut [Adjustment], now: Instant) {
        for adjustment in group.iter_mut() {
            adjustment.given = self.adjust_own(adjustment, now);
        }
        self.adjust_overflow(group, now);
        self.refresh();
        for adjustment in group {
            let place = self.place(adjustment.reservation.key.fingerprint, now);
            adjustment.backlog = Some(self.standing(place, &adjustment.reservation, now));
        }
    }

    /// The adjustment's part that isn't in the overflow bucket; answers what was given back.
    fn adjust_own(&mut self, adjustment: &Adjustment, now: Instant) -> u128 {
        let (reservation, missing) = (&adjustment.reservation, adjustment.missing());
        match reservation.slot {
            Slot::Own { .. } | Slot::Nowhere if missing > 0 => self.charge(reservation, missing, now),
            Slot::Own { generation, refunded } => {
                return self.refund(adjustment, (generation, refunded), now);
            }
            Slot::Nowhere | Slot::Overflow(_) => {}
        }
        0
    }

    /// The backlog of the bucket at `place`. Buckets in shadow know nothing of the overflow bucket.
    fn standing(&self, place: Place, reservation: &Reservation, now: Instant) -> u128 {
        match (place, reservation.binding) {
            (Place::New(_) | Place::Overflow, false) => 0,
            (Place::Own(_) | Place::New(_) | Place::Overflow, _) => {
                self.backlog(place, reservation.rate, now)
            }
        }
    }

    /// Adds to the backlog, over the capacity if need be; in shadow up to it.
    fn charge(&mut self, reservation: &Reservation, missing: u128, now: Instant) {
        let (rate, place) = (reservation.rate, self.place(reservation.key.fingerprint, now));
        let before = self.standing(place, reservation, now);
        let wanted = before.saturating_add(missing);
        let after = if reservation.binding {
            wanted
        } else {
            wanted.min(rate.capacity()).max(before)
        };
        match (place, reservation.binding) {
            (Place::Overflow, true) => self.share_debt(rate.ns(missing), now),
            (Place::Own(_) | Place::New(_), _) if after > before => {
                self.set(place, (reservation.key.fingerprint, rate), after, now);
            }
            (Place::Own(_) | Place::New(_) | Place::Overflow, _) => {}
        }
    }

    /// Gives back what is spare, if the entry is still the one of this generation; answers how much. `held`: the
    /// entry's generation and refund counter when the reservation was made.
    fn refund(&mut self, adjustment: &Adjustment, held: (u32, u64), now: Instant) -> u128 {
        let (reservation, (generation, refunded)) = (&adjustment.reservation, held);
        let Some(index) = self.bucket(reservation.key.fingerprint) else {
            return 0;
        };
        let (rate, mut entry) = (reservation.rate, self.entry(index));
        if entry.generation != generation || entry.kind != rate.tag() {
            return 0;
        }
        let span = Span {
            before: reservation.before,
            moved: reservation.moved,
            elapsed: rate.ticks(now.0.saturating_sub(reservation.at.0)),
            refunded: rate.ticks(refunded_between(refunded, entry.refunded)),
        };
        let backlog = entry.backlog(rate, now);
        let given = adjustment.spare().min(span.unfilled()).min(backlog);
        if given > 0 {
            entry.tat = rate.tat(backlog - given, now);
            entry.count_refund(rate.ns(given));
            self.put(index, entry);
        }
        given
    }

    /// As charge and refund for the reservations in the overflow bucket, which moved it together by the largest of
    /// them. What is missing of one that has found its own entry since is charged there.
    fn adjust_overflow(&mut self, group: &mut [Adjustment], now: Instant) {
        let mut rise: Option<Rise> = None;
        for adjustment in group.iter() {
            let (reservation, mut want) = (&adjustment.reservation, adjustment.want);
            let Slot::Overflow(found) = reservation.slot else {
                continue;
            };
            if adjustment.missing() > 0 && self.bucket(reservation.key.fingerprint).is_some() {
                self.charge(reservation, adjustment.missing(), now);
                want = reservation.moved;
            }
            let rise = rise.get_or_insert(Rise {
                found,
                at: reservation.at,
                moved: 0,
                needed: 0,
            });
            rise.moved = rise.moved.max(reservation.rate.ns(reservation.moved));
            rise.needed = rise.needed.max(reservation.rate.ns(want));
        }
        match rise {
            Some(rise) if rise.needed > rise.moved => self.share_debt(rise.needed - rise.moved, now),
            Some(rise) if rise.moved > rise.needed => {
                let given = self.refund_overflow(&rise, now);
                group
                    .iter_mut()
                    .for_each(|adjustment| adjustment.give_shared(given));
            }
            Some(_) | None => {}
        }
    }

    /// As `refund`, of the overflow bucket, in ns.
    fn refund_overflow(&mut self, rise: &Rise, now: Instant) -> u64 {
        let overflow = self.overflow_now();
        let span = Span {
            before: u128::from(rise.found.tat.saturating_sub(rise.at.0)),
            moved: u128::from(rise.moved),
            elapsed: u128::from(now.0.saturating_sub(rise.at.0)),
            refunded: u128::from(refunded_between(rise.found.refunded, overflow.refunded)),
        };
        let unfilled = u64::try_from(span.unfilled()).unwrap_or(u64::MAX);
        let backlog = overflow.tat.saturating_sub(now.0);
        let spare = rise.moved.saturating_sub(rise.needed);
        let given = spare.min(unfilled).min(backlog);
        if given > 0 {
            self.share_less(given);
        }
        given
    }
}

impl Adjustment {
    /// Notes what the overflow bucket gave back for it.
    fn give_shared(&mut self, ns: u64) {
        if matches!(self.reservation.slot, Slot::Overflow(_)) {
            self.given = self.spare().min(self.reservation.rate.ticks(ns));
        }
    }
}

/// What the claims of one admission are to the overflow bucket, in ns.
struct Rise {
    found: Overflow,
    at: Instant,
    /// The largest of the reservations.
    moved: u64,
    /// The largest of what they should have been.
    needed: u64,
}

/// The span of a reservation in the queue of its bucket (see the top of this file).
struct Span {
    before: u128,
    moved: u128,
    elapsed: u128,
    /// What was refunded to the bucket since, to whomever.
    refunded: u128,
}

impl Span {
    /// How much of the reservation hasn't refilled yet, for certain.
    fn unfilled(&self) -> u128 {
        let end = self.before.saturating_add(self.moved);
        end.saturating_sub(self.elapsed)
            .saturating_sub(self.refunded.min(self.before))
    }
}
