//! What the guards of one exchange look for, what they found, and what stands for it.
//!
//! The invariant: what is reported of a find is its guard, its kind and how often; never its content.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::escape::{self, Cursor};
use super::kind::{Kind, Kinds};
use super::own::Own;
use super::placeholder::{Keep, Placeholders};
use super::scan::{Found, Scanner, What};
use super::text::Text;
use super::written::{Way, Written};
use crate::policy::{Guard, GuardAction, Mode, Side};

/// So much of a value tells it from others, unless it is put back: what a stream has in sight of each.
const TOLD_APART: usize = 240;

/// What is looked for on one side of an exchange, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Plan {
    side: Side,
    pub(super) scanner: Scanner,
    rules: Vec<Rule>,
    /// Indices of the rules with patterns or words.
    pub(super) owners: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Rule {
    guard: usize,
    kinds: Kinds,
    own: Arc<Own>,
    action: GuardAction,
    binds: bool,
}

/// What becomes of a find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, and is counted.
    Stays,
    /// A placeholder takes its place.
    Masked(Keep),
    /// The original takes its place.
    PutBack(Kind, u32),
    /// Nothing goes on.
    Blocked,
}

impl Plan {
    /// What these guards look for on one side; none when nothing. `guards` are those that concern the exchange, each
    /// with its index in the policy; `mode` is the policy's own, which can only soften theirs.
    #[must_use]
    pub fn of<'g>(
        guards: impl IntoIterator<Item = (usize, &'g Guard)>,
        side: Side,
        mode: Mode,
    ) -> Option<Self> {
        let (mut rules, mut restores) = (Vec::new(), false);
        for (index, guard) in guards {
            let binds = mode == Mode::Enforce && guard.mode == Mode::Enforce;
            restores |= binds && guard.action == GuardAction::Restore;
            if guard.on.contains(&side) {
                rules.push(Rule::of(index, guard, binds));
            }
        }
        (restores || !rules.is_empty()).then(|| Self::with(side, rules, restores))
    }

    /// Masks all that these guards would keep from going on, on either side, and leaves placeholders as they are: for texts
    /// that go to somebody else, or back to the provider.
    #[must_use]
    pub fn masking<'g>(guards: impl IntoIterator<Item = (usize, &'g Guard)>, mode: Mode) -> Option<Self> {
        let binds = |guard: &Guard| mode == Mode::Enforce && guard.mode == Mode::Enforce;
        let guards = guards.into_iter();
        let binding = guards.filter(|(_, guard)| binds(guard) && guard.action != GuardAction::Detect);
        let masks = |(index, guard): (usize, &Guard)| Rule {
            action: guard.action.min(GuardAction::Mask),
            ..Rule::of(index, guard, true)
        };
        let rules: Vec<Rule> = binding.map(masks).collect();
        (!rules.is_empty()).then(|| Self::with(Side::Answer, rules, false))
    }

    fn with(side: Side, rules: Vec<Rule>, restores: bool) -> Self {
        let owners = rules.iter().enumerate().filter(|(_, rule)| !rule.own.is_empty());
        let kinds = Kind::NAMED
            .into_iter()
            .filter(|kind| rules.iter().any(|rule| rule.kinds.has(*kind)));
        Self {
            side,
            scanner: Scanner::new(kinds.collect(), restores),
            owners: owners.map(|(at, _)| at).collect(),
            rules,
        }
    }

    /// Whether what it finds may be changed, or stop the exchange; what is put back apart.
    #[must_use]
    pub fn rules_bind(&self) -> bool {
        let changes = |rule: &Rule| rule.binds && rule.action != GuardAction::Detect;
        self.rules.iter().any(changes)
    }

    /// Whether there is anything to look for but placeholders.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The same for texts that hold placeholders of this exchange already: those stay.
    #[must_use]
    pub fn again(self) -> Self {
        Self {
            scanner: self.scanner.without_placeholders(),
            ..self
        }
    }

    /// The patterns and words of a rule.
    pub(super) fn own(&self, rule: usize) -> Option<&Own> {
        self.rules.get(rule).map(|rule| &*rule.own)
    }

    /// How far back from the end of a stream own matches may be incomplete.
    pub(super) fn reach(&self) -> usize {
        let reaches = self.owners.iter().filter_map(|rule| self.own(*rule));
        reaches.map(Own::reach).max().unwrap_or(0)
    }

    /// All that is found in a complete text.
    fn scan(&self, text: Text<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        self.scanner.scan(text, 0, &mut found);
        for rule in &self.owners {
            if let Some(own) = self.own(*rule) {
                own.patterns(text, 0, *rule, &mut found);
                own.words(text, 0, *rule, &mut found);
            }
        }
        found
    }

    fn rules_of(&self, what: What) -> impl Iterator<Item = (&Rule, Kind)> {
        self.rules
            .iter()
            .enumerate()
            .filter_map(move |(at, rule)| match what {
                What::Value(kind) => rule.kinds.has(kind).then_some((rule, kind)),
                What::Own(kind, owner) => (owner == at).then_some((rule, kind)),
                What::Placeholder(..) => None,
            })
    }

    /// What becomes of it: the strictest of what binds.
    fn fate(&self, what: What) -> Fate {
        if let What::Placeholder(kind, number) = what {
            return match self.side {
                // What looks like a placeholder gets one of its own, else it would come back as somebody's value.
                Side::Request => Fate::Masked(Keep::Original),
                Side::Answer => Fate::PutBack(kind, number),
            };
        }
        let binding = self.rules_of(what).filter(|(rule, _)| rule.binds);
        match binding.map(|(rule, _)| rule.action).max() {
            None | Some(GuardAction::Detect) => Fate::Stays,
            Some(GuardAction::Restore) => Fate::Masked(Keep::Original),
            Some(GuardAction::Mask) => Fate::Masked(Keep::Nothing),
            Some(GuardAction::Block) => Fate::Blocked,
        }
    }
}

impl Rule {
    fn of(index: usize, guard: &Guard, binds: bool) -> Self {
        Self {
            guard: index,
            kinds: guard.kinds.iter().copied().collect(),
            own: Arc::clone(&guard.own),
            action: guard.action,
            binds,
        }
    }
}

/// One change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What takes its place.
    pub(super) with: Vec<u8>,
    pub(super) found: Found,
}

/// Up to where finds were judged: none of them is judged twice, and none overlaps another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floors {
    /// The end of the last one that was changed.
    pub(super) changed: usize,
    /// The end of the last one that stayed.
    pub(super) stayed: usize,
}

/// What the guards of one exchange found, and what stands for it.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    placeholders: Placeholders,
    counts: BTreeMap<(usize, Kind), u64>,
    blocked: Option<(usize, Kind)>,
    /// What is found was counted before.
    repeats: bool,
}

impl Watch {
    /// Whether the answer may have values put back.
    #[must_use]
    pub fn keeps_originals(&self) -> bool {
        self.placeholders.keeps_originals()
    }

    /// From now on texts come that were seen before, or not any more: their finds aren't counted again.
    pub fn repeat(&mut self, repeats: bool) {
        self.repeats = repeats;
    }

    /// As [`Watch::counts`], since this was last asked.
    pub fn take_counts(&mut self) -> Vec<(usize, Kind, u64)> {
        let counts: Vec<_> = self.counts().collect();
        self.counts.clear();
        counts
    }

    /// How often each guard (by its index in the policy) found each kind.
    pub fn counts(&self) -> impl Iterator<Item = (usize, Kind, u64)> {
        self.counts
            .iter()
            .map(|((guard, kind), times)| (*guard, *kind, *times))
    }

    /// The guard (by its index in the policy) that lets nothing go on, and the kind that it found.
    #[must_use]
    pub fn blocked(&self) -> Option<(usize, Kind)> {
        self.blocked
    }

    /// The content of a JSON string with what the plan masks masked, or put back; none when it stays as it is.
    pub fn mask(&mut self, plan: &Plan, raw: &[u8]) -> Option<Vec<u8>> {
        self.mask_written(plan, raw, Written::Plainly)
    }

    /// The same of a text that is written as JSON itself.
    pub fn mask_written(&mut self, plan: &Plan, raw: &[u8], written: Written) -> Option<Vec<u8>> {
        let text = escape::decoded(raw);
        let mut found = plan.scan(Text(&text));
        let changes = self.judge(plan, &text, &mut found, &mut Floors::default());
        if changes.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(raw.len());
        let (mut cursor, mut way, mut passed) = (Cursor::new(raw, 0), Way::of(written), 0);
        for change in changes {
            out.extend_from_slice(cursor.take(change.start));
            way.pass(text.get(passed..change.start).unwrap_or_default());
            escape::encode(&way.value(change.with), &mut out);
            way.pass(text.get(change.start..change.end).unwrap_or_default());
            passed = change.end;
            cursor.take(change.end);
        }
        out.extend_from_slice(cursor.take(text.len()));
        Some(out)
    }

    /// Judges finds from the left, the longest first; answers the changes, in order.
    pub(super) fn judge(
        &mut self,
        plan: &Plan,
        text: &[u8],
        found: &mut [Found],
        floors: &mut Floors,
    ) -> Vec<Change> {
        found.sort_by_key(|found| (found.start, Reverse(found.end)));
        let judged = found
            .iter()
            .filter_map(|found| self.change(plan, text, *found, floors));
        judged.collect()
    }

    fn change(&mut self, plan: &Plan, text: &[u8], found: Found, floors: &mut Floors) -> Option<Change> {
        let fate = plan.fate(found.what);
        let floor = match fate {
            Fate::Stays => &mut floors.stayed,
            Fate::Masked(_) | Fate::PutBack(..) | Fate::Blocked => &mut floors.changed,
        };
        let start = found.start.max(*floor);
        if found.end <= start {
            return None;
        }
        *floor = found.end;
        self.count(plan, found.what);
        let value = text.get(start..found.end).unwrap_or_default();
        let with = self.replacement(plan, fate, (found.what, value))?;
        Some(Change {
            start,
            end: found.end,
            with,
            found,
        })
    }

    fn replacement(&mut self, plan: &Plan, fate: Fate, (what, value): (What, &[u8])) -> Option<Vec<u8>> {
        let (What::Value(kind) | What::Own(kind, _) | What::Placeholder(kind, _)) = what;
        match fate {
            Fate::Stays => None,
            Fate::Masked(keep) => {
                let told_apart = if keep == Keep::Nothing {
                    TOLD_APART
                } else {
                    usize::MAX
                };
                let value = value.get(..told_apart).unwrap_or(value);
                Some(self.placeholders.standing_for(kind, value, keep).into_bytes())
            }
            Fate::PutBack(kind, number) => self.placeholders.original(kind, number).map(<[u8]>::to_vec),
            Fate::Blocked => {
                let blocking = |(rule, _): &(&Rule, Kind)| rule.binds && rule.action == GuardAction::Block;
                let by = plan
                    .rules_of(what)
                    .find(blocking)
                    .map(|(rule, kind)| (rule.guard, kind));
                self.blocked = self.blocked.or(by);
                None
            }
        }
    }

    fn count(&mut self, plan: &Plan, what: What) {
        if self.repeats {
            return;
        }
        for (rule, kind) in plan.rules_of(what) {
            let times = self.counts.entry((rule.guard, kind)).or_default();
            *times = times.saturating_add(1);
        }
    }
}
