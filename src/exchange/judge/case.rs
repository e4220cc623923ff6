//! The verdict itself.

use crate::body::schema::Verdict;
use crate::dialect::Answer;
use crate::policy::{Ladder, Policy, Rung};
use crate::report::metric::Checked;

use super::asked::Asked;
use super::complaint::{Again, Complaint};
use super::finding::Finding;
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
    pub(in crate::exchange) verdict: Checked,
    pub(in crate::exchange) then: Then,
}

/// What becomes of an answer.
#[derive(Clone, Debug)]
pub(in crate::exchange) enum Then {
    /// It goes on.
    Pass,
    /// The client is told this in its place.
    Reject(String),
    /// Somebody is asked for a better one. Where nobody can be, the answer is judged once more from the position given.
    Ask(Again, Complaint, Position),
}

/// Judges an answer.
pub(in crate::exchange) fn judge(case: &Case<'_>, said: &Answer) -> Judged {
    let finding = case.finding(said);
    if !finding.is_bad() {
        return Judged {
            verdict: case.good(finding.verdict),
            then: Then::Pass,
        };
    }
    let text = match said {
        Answer::Text(text) => text,
        _ => "",
    };
    Judged {
        verdict: finding.verdict,
        then: case.climb(&finding, text),
    }
}

impl Case<'_> {
    fn good(&self, verdict: Checked) -> Checked {
        if verdict == Checked::Valid && self.position.has_asked() {
            Checked::Retried
        } else {
            verdict
        }
    }

    fn finding(&self, said: &Answer) -> Finding {
        match said {
            Answer::Text(text) => self.text(text),
            Answer::Refused => Finding::plain(Checked::Refusal),
            Answer::Filtered => Finding::plain(Checked::Filtered),
            Answer::Cut => Finding::plain(Checked::Truncated),
            Answer::Empty => Finding::plain(Checked::Empty),
            Answer::Many(_) => Finding::plain(Checked::Several),
            Answer::ToolCalls => Finding::plain(Checked::ToolCalls),
            Answer::NotJson => Finding::plain(Checked::NotJson),
            Answer::Error | Answer::TooLong => Finding::plain(Checked::Unchecked),
        }
    }

    fn text(&self, text: &str) -> Finding {
        let Some(found) = self.policy.validate.get(self.rule.at) else {
            return Finding::plain(Checked::Unchecked);
        };
        match found.schema.check(text) {
            Verdict::Valid => Finding::plain(Checked::Valid),
            Verdict::NotJson => Finding::plain(Checked::NotJson),
            Verdict::Invalid(violations) => Finding {
                verdict: Checked::Invalid,
                violations,
            },
        }
    }

    /// The first rung that leads anywhere.
    fn climb(&self, finding: &Finding, said: &str) -> Then {
        let none = Ladder::default();
        let found = self.policy.validate.get(self.rule.at);
        let ladder = found.map_or(&none, |found| &found.on_invalid);
        for (at, rung) in ladder.rungs().iter().enumerate() {
            match rung {
                Rung::Retry(times) if self.may_ask(at, *times) => {
                    return self.ask(Again::Same, at, (finding, said));
                }
                Rung::Fallback if self.may_ask(at, u32::MAX) => {
                    return self.ask(Again::Next, at, (finding, said));
                }
                Rung::Annotate => return Then::Pass,
                Rung::Reject | Rung::Default(_) => break,
                Rung::Repair | Rung::Retry(_) | Rung::Fallback => {}
            }
        }
        Then::Reject(finding.message(self.policy, self.rule))
    }

    fn may_ask(&self, at: usize, most: u32) -> bool {
        !self.gone && self.position.allows(at, most)
    }

    fn ask(&self, to: Again, at: usize, (finding, said): (&Finding, &str)) -> Then {
        let complaint = Complaint {
            text: finding.complaint(),
            said: said.to_owned(),
            position: self.position.used(at),
        };
        Then::Ask(to, complaint, self.position.over(at))
    }
}
