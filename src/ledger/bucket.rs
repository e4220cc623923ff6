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
//! On a clock that stands still this never bites (the last term is at most `before`), so the bucket ends at exactly the sum of
//! what was used.
//!
//! Invariant: a bucket's TAT is never earlier than if every exchange had been charged what it used when it began, and
//! what it used beyond its reservation when it ended.

use super::gcra::Rate;
use super::page::{Page, Place, Slot, refunded_between};
use super::settle::Adjustment;
use super::ticket::Reservation;
use crate::time::Instant;

impl Page {
    /// Tries to set `reservation.units` aside and notes in it what became of that. A binding reservation that doesn't fit
    /// leaves the page as it is; one in shadow takes what there is.
    pub(super) fn reserve(&mut self, reservation: &mut Reservation, now: Instant) {
        let (rate, binding) = (reservation.rate, reservation.binding);
        let place = self.place(reservation.key.fingerprint, now);
        let before = self.standing(place, reservation, now);
        let wanted = before.saturating_add(rate.cost(reservation.units));
        let wait = wanted.saturating_sub(rate.capacity());
        let after = match (wait, binding) {
            (0, _) => wanted,
            (_, true) => before,
            (_, false) => before.max(rate.capacity()),
        };
        (reservation.at, reservation.before, reservation.wait) = (now, before, wait);
        (reservation.moved, reservation.slot) = (after - before, Slot::Nowhere);
        reservation.contended = false;
        if after > before && (binding || place != Place::Overflow) {
            reservation.refunded = self.refunded(place);
            reservation.slot = self.set(place, (reservation.key.fingerprint, rate), after, now);
        } else {
            reservation.moved = 0;
        }
    }

    /// Charges and refunds what one admission's reservations on this page differ from what was used.
    pub(super) fn adjust(&mut self, group: &mut [Adjustment], now: Instant) {
        for adjustment in group.iter_mut() {
            adjustment.given = 0;
            match (
                adjustment.reservation.slot,
                adjustment.missing(),
                adjustment.spare(),
            ) {
                (Slot::Own(_) | Slot::Nowhere, 0, 0) | (Slot::Nowhere, 0, _) | (Slot::Overflow, ..) => {}
                (Slot::Own(generation), 0, spare) => {
                    adjustment.given = self.refund(&adjustment.reservation, generation, spare, now);
                }
                (Slot::Own(_) | Slot::Nowhere, missing, _) => {
                    self.charge(&adjustment.reservation, missing, now);
                }
            }
        }
        self.adjust_overflow(group, now);
        self.refresh();
        for adjustment in group {
            adjustment.backlog = Some(self.standing_of(&adjustment.reservation, now));
        }
    }

    /// The backlog that the reservation's bucket has.
    pub(super) fn standing_of(&self, reservation: &Reservation, now: Instant) -> u128 {
        let place = self.place(reservation.key.fingerprint, now);
        self.standing(place, reservation, now)
    }

    /// As `standing_of`, when the place is known. Buckets in shadow know nothing of the overflow bucket.
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
        let place = self.place(reservation.key.fingerprint, now);
        let before = self.standing(place, reservation, now);
        let (wanted, capacity) = (before.saturating_add(missing), reservation.rate.capacity());
        let after = if reservation.binding {
            wanted
        } else {
            wanted.min(capacity).max(before)
        };
        if after > before && (reservation.binding || place != Place::Overflow) {
            self.set(place, (reservation.key.fingerprint, reservation.rate), after, now);
        }
    }

    /// Gives back up to `spare` if the entry is still the same; answers how much.
    fn refund(&mut self, reservation: &Reservation, generation: u32, spare: u128, now: Instant) -> u128 {
        let Some(index) = self.bucket(reservation.key.fingerprint) else {
            return 0;
        };
        let (rate, mut entry) = (reservation.rate, self.entry(index));
        if entry.generation != generation || entry.kind != rate.tag() {
            return 0;
        }
        let backlog = entry.backlog(rate, now);
        let given = spare
            .min(unfilled(reservation, rate, entry.refunded, now))
            .min(backlog);
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
        let (mut moved, mut needed) = (0, 0);
        for adjustment in group.iter().filter(|a| a.reservation.slot == Slot::Overflow) {
            let (reservation, mut want) = (&adjustment.reservation, adjustment.want);
            if adjustment.missing() > 0 && self.bucket(reservation.key.fingerprint).is_some() {
                self.charge(reservation, adjustment.missing(), now);
                want = reservation.moved;
            }
            moved = moved.max(reservation.rate.ns(reservation.moved));
            needed = needed.max(reservation.rate.ns(want));
        }
        if needed > moved {
            self.share_more(needed - moved, now);
        } else if moved > needed {
            self.refund_overflow(group, (moved, moved - needed), now);
        }
    }

    fn refund_overflow(&mut self, group: &mut [Adjustment], sizes: (u64, u64), now: Instant) {
        let (moved, spare) = sizes;
        let Some(first) = group.iter().find(|a| a.reservation.slot == Slot::Overflow) else {
            return;
        };
        let (overflow, reservation) = (self.entry(0), &first.reservation);
        let whole = Reservation {
            before: u128::from(reservation.rate.ns(reservation.before)),
            moved: u128::from(moved),
            ..reservation.clone()
        };
        let bound = unfilled(&whole, Rate::NANOSECONDS, overflow.refunded, now);
        let given = u64::try_from(bound).unwrap_or(u64::MAX).min(spare);
        let given = given.min(overflow.tat.ns.saturating_sub(now.0));
        if given > 0 {
            self.share_less(given);
        }
        for adjustment in group.iter_mut().filter(|a| a.reservation.slot == Slot::Overflow) {
            adjustment.given = adjustment.spare().min(adjustment.reservation.rate.ticks(given));
        }
    }
}

/// How much of a reservation hasn't refilled yet, for certain (see the top of this file).
fn unfilled(reservation: &Reservation, rate: Rate, refunded: u64, now: Instant) -> u128 {
    let elapsed = rate.ticks(now.0.saturating_sub(reservation.at.0));
    let ahead = rate
        .ticks(refunded_between(reservation.refunded, refunded))
        .min(reservation.before);
    let end = reservation.before.saturating_add(reservation.moved);
    end.saturating_sub(elapsed).saturating_sub(ahead)
}
