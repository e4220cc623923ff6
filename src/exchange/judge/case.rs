//! The verdict, and the way on.

use serde_json::Value;

use crate::body::cache::Schemas;
use crate::body::grounding::Grounded;
use crate::body::repair::Mends;
use crate::dialect::Amendment;
use crate::policy::{self, Ladder, Otherwise, Policy, Rung, Validation};
use crate::report::Record;
use crate::report::metric::{Checked, Claimed, Metric, Ruled};
use crate::rule::Facts;
use crate::store::Store;

use super::super::Turn;
use super::asked::Asked;
use super::complaint::{Again, Complaint};
use super::draft::{Draft, Heard, Part};
use super::finding::Finding;
use super::form::{Looking, MOST_COMPILED};
use super::position::Position;
use super::rule::Rule;

/// What an answer is judged by.
#[derive(Clone, Copy)]
pub(in crate::exchange) struct Case<'c> {
    pub(in crate::exchange) policy: &'c Policy,
    pub(in crate::exchange) rule: Rule,
    /// What its request asked for.
    pub(in crate::exchange) asked: &'c Asked,
    /// How far the ladder was climbed for answers before it.
    pub(in crate::exchange) position: Position,
    /// The client has it already: nothing but its end can be changed.
    pub(in crate::exchange) gone: bool,
}

/// The verdict, and what becomes of the answer by it.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct Judged {
    /// None when nothing was to be judged.
    pub(in crate::exchange) verdict: Option<Checked>,
    pub(in crate::exchange) then: Then,
    pub(in crate::exchange) notes: Notes,
}

/// What is counted of a verdict.
#[derive(Clone, Debug, Default)]
pub(in crate::exchange) struct Notes {
    /// What became of each rule that was judged, by its number.
    pub(in crate::exchange) rules: Vec<(usize, Ruled)>,
    pub(in crate::exchange) grounded: Option<Grounded>,
    pub(in crate::exchange) mends: Mends,
}

impl Judged {
    /// Puts it into the record.
    pub(in crate::exchange) fn record(&self, policy: &Policy, rule: Rule, record: &mut Record) {
        record.validation = self.verdict.map_or("", Checked::as_str);
        record.mended = self.notes.mends.to_string();
        record.rules_broken = self.notes.broken(policy, rule);
        record.grounded = self.notes.grounded.map(Into::into);
    }

    /// Of an answer that nobody could look at.
    pub(in crate::exchange) fn unchecked() -> Self {
        Self {
            verdict: Some(Checked::Unchecked),
            then: Then::Pass,
            notes: Notes::default(),
        }
    }
}

impl Notes {
    /// The names of the rules that don't hold.
    pub(in crate::exchange) fn broken(&self, policy: &Policy, rule: Rule) -> Vec<String> {
        let Some(validation) = policy.validate.get(rule.at) else {
            return Vec::new();
        };
        let broken = self.rules.iter().filter(|(_, ruled)| *ruled == Ruled::Broken);
        let broken = broken.filter_map(|(at, _)| validation.rules.get(*at));
        broken.map(|rule| rule.name.clone()).collect()
    }
}

impl<S: Store> Turn<'_, S> {
    /// Counts a verdict with all that it says.
    pub(in crate::exchange) fn count_verdict(&mut self, rule: Rule, judged: &Judged) {
        if let Some(verdict) = judged.verdict {
            self.count(Metric::Schema(rule.at, verdict));
        }
        for (at, ruled) in &judged.notes.rules {
            self.count(Metric::Rule(rule.at, *at, *ruled));
        }
        for mend in judged.notes.mends.iter() {
            self.count(Metric::Mended(mend));
        }
        let Some(found) = judged.notes.grounded else {
            return;
        };
        let counts = [
            (Claimed::Found, found.found),
            (Claimed::Missing, found.claims.saturating_sub(found.found)),
            (Claimed::Unknown, found.unknown),
        ];
        for (claimed, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            self.add(Metric::Claim(rule.at, claimed), u64::from(count));
        }
    }
}

/// What becomes of an answer.
#[derive(Clone, Debug)]
pub(in crate::exchange) enum Then {
    /// It goes on.
    Pass,
    /// It goes on with other words; where they can't be put in, the client is told this.
    Instead(Box<Amendment>, String),
    /// The client is told this in its place.
    Reject(String),
    /// Somebody is asked for a better one. Where nobody can be, the answer is judged once more from the position given.
    Ask(Again, Complaint, Position),
}

/// Judges an answer.
pub(in crate::exchange) fn judge(case: &Case<'_>, schemas: &mut Schemas, heard: &Heard) -> Judged {
    let nothing = Judged {
        verdict: None,
        then: Then::Pass,
        notes: Notes::default(),
    };
    let Some(validation) = case.policy.validate.get(case.rule.at) else {
        return nothing;
    };
    let looking = Looking {
        validation,
        asked: case.asked,
        schemas,
        compiling: MOST_COMPILED,
        heard,
    };
    let judging = Judging {
        case: *case,
        looking,
        draft: Draft::default(),
        notes: Notes::default(),
    };
    judging.judge().unwrap_or(nothing)
}

/// One answer being judged.
struct Judging<'c, 's> {
    case: Case<'c>,
    looking: Looking<'c, 's>,
    draft: Draft,
    notes: Notes,
}

/// Where a ladder leads.
enum Way {
    /// The draft was mended.
    Mended,
    Out(Option<Checked>, Then),
}

impl<'c> Judging<'c, '_> {
    fn judge(mut self) -> Option<Judged> {
        let form = self.looking.finding(&self.draft)?;
        if form.is_bad()
            && let Way::Out(verdict, then) = self.climb(&form)
        {
            return Some(self.judged(verdict.or(Some(form.verdict)), then));
        }
        let mut annotated = false;
        if let Some(main) = self.looking.main() {
            let broken = self.rules(main, &mut annotated);
            let broken = broken.or_else(|| self.grounding(main, &mut annotated));
            if let Some(finding) = broken
                && let Way::Out(verdict, then) = self.climb(&finding)
            {
                return Some(self.judged(verdict.or(Some(finding.verdict)), then));
            }
        }
        let good = if form.is_bad() {
            Checked::Valid
        } else {
            form.verdict
        };
        let unseen = self.validation().grounding.is_some() && self.looking.asked.context.is_none();
        let verdict = if annotated {
            Checked::Invalid
        } else if unseen && good == Checked::Valid {
            Checked::Unchecked
        } else {
            self.good(good)
        };
        let then = self.passing(&form);
        Some(self.judged(Some(verdict), then))
    }

    fn judged(mut self, verdict: Option<Checked>, then: Then) -> Judged {
        self.notes.mends = self.draft.mends;
        Judged {
            verdict,
            then,
            notes: self.notes,
        }
    }

    fn good(&self, verdict: Checked) -> Checked {
        if verdict != Checked::Valid {
            verdict
        } else if self.case.position.has_asked() {
            Checked::Retried
        } else if self.draft.is_changed() {
            Checked::Repaired
        } else {
            verdict
        }
    }

    fn passing(&self, form: &Finding) -> Then {
        if self.draft.is_changed() {
            let amendment = Box::new(self.draft.amendment.clone());
            Then::Instead(amendment, form.message(self.case.policy, self.case.rule))
        } else {
            Then::Pass
        }
    }

    fn validation(&self) -> &'c Validation {
        self.looking.validation
    }

    /// Judges the rules, and puts back what they clamp; answers those that break.
    fn rules(&mut self, main: Part, annotated: &mut bool) -> Option<Finding> {
        let rules = &self.validation().rules;
        if rules.is_empty() {
            return None;
        }
        let mut answer = self.parsed(main);
        let mut broken = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let mut outcome = self.holds(&answer, rule);
            if let (Ruled::Broken, Otherwise::Clamp(clamp)) = (outcome, &rule.otherwise)
                && let Some(text) = clamp.apply(self.draft.now(self.looking.heard, main))
                && let Some(clamped) = self.clamped(main, rule, text)
            {
                (answer, outcome) = (clamped, Ruled::Clamped);
            }
            self.notes.rules.push((at, outcome));
            match (outcome, &rule.otherwise) {
                (Ruled::Held | Ruled::Clamped, _) => {}
                (Ruled::Broken, Otherwise::Annotate) => *annotated = true,
                (Ruled::Broken, Otherwise::Reject | Otherwise::Clamp(_)) => broken.push(rule),
            }
        }
        broken.extend(self.broken_by_clamps(&answer));
        (!broken.is_empty()).then(|| Finding::breaking(broken.into_iter()))
    }

    /// The answer as it stands now; `null` when it isn't JSON.
    fn parsed(&self, main: Part) -> Value {
        let text = self.draft.now(self.looking.heard, main);
        serde_json::from_str(text).unwrap_or_default()
    }

    fn holds(&self, answer: &Value, rule: &policy::Rule) -> Ruled {
        let facts = Facts {
            answer,
            request: &self.looking.asked.request,
        };
        match rule.condition.holds(facts) {
            Ok(true) => Ruled::Held,
            // What can't be judged doesn't hold.
            Ok(false) | Err(_) => Ruled::Broken,
        }
    }

    /// Puts a clamped answer in, if schema and rule agree to it.
    fn clamped(&mut self, main: Part, rule: &policy::Rule, text: String) -> Option<Value> {
        let before = self.draft.clone();
        self.draft.put(main, text);
        let answer = self.parsed(main);
        let agreed = !self.case.gone
            && self.looking.is_met(main, &self.draft)
            && self.holds(&answer, rule) == Ruled::Held;
        if agreed {
            return Some(answer);
        }
        self.draft = before;
        None
    }

    /// Rules that held until a later one changed the answer.
    fn broken_by_clamps(&self, answer: &Value) -> Vec<&'c policy::Rule> {
        let ruled = &self.notes.rules;
        if !ruled.iter().any(|(_, ruled)| *ruled == Ruled::Clamped) {
            return Vec::new();
        }
        let good = ruled.iter().filter(|(_, ruled)| *ruled != Ruled::Broken);
        let rules = good.filter_map(|(at, _)| self.validation().rules.get(*at));
        rules
            .filter(|rule| self.holds(answer, rule) == Ruled::Broken)
            .collect()
    }

    /// Looks for the answer's claims in the request's context.
    fn grounding(&mut self, main: Part, annotated: &mut bool) -> Option<Finding> {
        let grounding = self.validation().grounding.as_ref()?;
        let context = self.looking.asked.context.as_ref()?;
        let found = grounding
            .claims
            .judge(self.draft.now(self.looking.heard, main), context);
        self.notes.grounded = Some(found);
        if found.ratio() >= grounding.at_least {
            return None;
        }
        if grounding.otherwise == Otherwise::Annotate {
            *annotated = true;
            return None;
        }
        Some(Finding::ungrounded(found))
    }

    /// The first rung that leads anywhere.
    fn climb(&mut self, finding: &Finding) -> Way {
        let ladder = &self.validation().on_invalid;
        for (at, rung) in ladder.rungs().iter().enumerate() {
            match rung {
                Rung::Repair if self.mends(finding) => return Way::Mended,
                Rung::Retry(times) if self.may_ask(at, *times) => {
                    return Way::Out(None, self.ask(Again::Same, at, finding));
                }
                Rung::Fallback if self.may_ask(at, u32::MAX) => {
                    return Way::Out(None, self.ask(Again::Next, at, finding));
                }
                Rung::Annotate => return Way::Out(None, Then::Pass),
                Rung::Reject | Rung::Default(_) => break,
                Rung::Repair | Rung::Retry(_) | Rung::Fallback => {}
            }
        }
        let message = finding.message(self.case.policy, self.case.rule);
        match self.stand_in(ladder) {
            Some(amendment) => Way::Out(
                Some(Checked::Defaulted),
                Then::Instead(Box::new(amendment), message),
            ),
            None => Way::Out(None, Then::Reject(message)),
        }
    }

    /// Mends every part that is broken; all of them, or none.
    fn mends(&mut self, finding: &Finding) -> bool {
        if self.case.gone || !finding.is_of_form() {
            return false;
        }
        let mut draft = Draft::default();
        for part in self.looking.parts() {
            if self.looking.is_met(part, &draft) {
                continue;
            }
            let expected = self.looking.expected(part);
            if !draft.mend(self.looking.heard, part, expected.schema()) {
                return false;
            }
        }
        let good = self.looking.finding(&draft).is_some_and(|found| !found.is_bad());
        if good && draft.is_changed() {
            self.draft = draft;
            return true;
        }
        false
    }

    /// The policy's default, where the answer's form would accept it.
    fn stand_in(&mut self, ladder: &Ladder) -> Option<Amendment> {
        let value = ladder.stand_in().filter(|_| !self.case.gone)?;
        let main = self.looking.main()?;
        let mut draft = Draft::default();
        draft.put(main, value.to_string());
        self.looking.is_met(main, &draft).then_some(draft.amendment)
    }

    fn may_ask(&self, at: usize, most: u32) -> bool {
        !self.case.gone && self.case.position.allows(at, most)
    }

    fn ask(&self, to: Again, at: usize, finding: &Finding) -> Then {
        let complaint = Complaint {
            text: finding.complaint(),
            said: self.looking.heard.text().to_owned(),
            position: self.case.position.used(at),
        };
        Then::Ask(to, complaint, self.case.position.over(at))
    }
}
