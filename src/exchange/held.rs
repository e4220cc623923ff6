//! A JSON answer that the host holds until its verdict: read once, when it is whole.
//!
//! Its invariant: verdict, bill and model are those of the same bytes.

use crate::dialect::JsonReader;
use crate::store::Store;

use super::answer::{Form, Whole};
use super::judge::{Heard, Rule};
use super::respond::{Reader, Responding};
use super::{Body, Exchange, Step, Turn};

impl Responding {
    /// Holds a JSON answer until it is whole, then lets its rule decide.
    pub(super) fn held<S: Store>(
        mut self: Box<Self>,
        turn: &mut Turn<'_, S>,
        body: &Body<'_>,
    ) -> (Exchange, Step) {
        let bound = turn.gateway.policy.bounds.response_body;
        if body.size <= bound && !body.end {
            return (Exchange::Responding(self), Step::hold());
        }
        if body.size > bound {
            self.let_pass();
            self.unchecked(turn);
            return self.passed_on(turn, body);
        }
        match self.held_answer() {
            Some((rule, whole)) => self.decide(turn, rule, &whole),
            None => self.passed_on(turn, body),
        }
    }

    /// Too long to be held: what came of it, and what comes, is read as it passes.
    fn let_pass(&mut self) {
        if let Reader::Held { gathered, .. } = &mut self.reader {
            let mut reader = JsonReader::new(self.endpoint);
            reader.push(&core::mem::take(gathered));
            self.reader = Reader::Json {
                reader,
                gathered: None,
            };
        }
    }

    /// The answer held, which is read like any other from here on.
    pub(super) fn held_answer(&mut self) -> Option<(Rule, Whole)> {
        let Reader::Held { rule, gathered } = &mut self.reader else {
            return None;
        };
        let (rule, bytes) = (*rule, core::mem::take(gathered));
        let (heard, facts) = Heard::with_facts(self.endpoint, &bytes);
        self.reader = Reader::Json {
            reader: JsonReader::at_end(self.endpoint, facts),
            gathered: None,
        };
        let whole = Whole {
            heard,
            bytes,
            form: Form::Json,
        };
        Some((rule, whole))
    }
}
