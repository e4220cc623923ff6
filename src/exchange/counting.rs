//! How many tokens a prompt has, as well as a decision needs to know.
//!
//! Texts have at most as many tokens as bytes, and at least a fraction of them: where every limit and the context say the
//! same to both, the estimate is all that is needed, and that is nearly always. Else the texts are counted, as far as it
//! takes to decide; and always if the policy says so. Texts without a public tokenizer, or longer than the policy's
//! bound, stay estimated.

use core::cell::{Cell, RefCell};

use crate::ledger::{Certainty, Demand};
use crate::policy::{CountWhen, Policy, ProviderModel, Tokenizer};
use crate::report::metric::Counted;
use crate::tokens::exact::{Count, Counter, Encoding};
use crate::tokens::{self, Estimate, Prompt};

/// A prompt's tokens, by each tokenizer that was asked for.
pub(super) struct Counting<'a> {
    prompt: &'a Prompt<'a>,
    bytes: usize,
    /// Longer texts aren't counted.
    most_bytes: usize,
    known: [Cell<Option<Texts>>; 3],
    /// What stands around the texts, for each model that was asked about: they live in the policy, so that an address is
    /// as good as a name.
    around: RefCell<Vec<(*const ProviderModel, u64)>>,
}

/// What is known of the texts alone.
#[derive(Clone, Copy)]
struct Texts {
    tokens: u64,
    certainty: Certainty,
    how: Counted,
}

/// What is known of a prompt's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    /// Of the texts as far as known, and of the rest.
    pub(super) prompt: Estimate,
    pub(super) certainty: Certainty,
    /// Whose tokens they are.
    pub(super) tokenizer: Tokenizer,
    /// How it came to be known, for metrics and records.
    pub(super) how: Counted,
}

impl Tokens {
    /// Tokens of the whole prompt.
    pub(super) fn tokens(&self) -> u64 {
        self.prompt.tokens()
    }

    /// What the prompt has but for an estimate's error: only what is beyond that is too long for a context.
    pub(super) fn at_least(&self) -> u64 {
        match self.certainty {
            Certainty::Counted => self.tokens(),
            Certainty::Estimated => self.tokens() / 4 * 3,
            Certainty::Countable { least, .. } => self.prompt.around.saturating_add(least),
        }
    }

    /// The estimate that the truth may teach something; none when the texts were counted.
    pub(super) fn guess(&self) -> Option<Estimate> {
        (self.certainty != Certainty::Counted).then_some(self.prompt)
    }

    /// Whether it hangs on the count whether the prompt has more tokens than this.
    fn is_unsure_of(&self, bound: u64) -> bool {
        match self.certainty {
            Certainty::Counted | Certainty::Estimated => false,
            Certainty::Countable { least, most } => {
                let around = self.prompt.around;
                around.saturating_add(least) <= bound && around.saturating_add(most) > bound
            }
        }
    }

    /// Puts the prompt into a demand.
    pub(super) fn demand(&self, demand: Demand) -> Demand {
        Demand {
            text: self.prompt.text,
            around: self.prompt.around,
            certainty: self.certainty,
            ..demand
        }
    }
}

impl<'a> Counting<'a> {
    pub(super) fn new(policy: &Policy, prompt: &'a Prompt<'a>) -> Self {
        let bytes = prompt.texts.iter().map(|text| text.len());
        Self {
            prompt,
            bytes: bytes.fold(0, usize::saturating_add),
            most_bytes: policy.bounds.exact_count,
            known: [const { Cell::new(None) }; 3],
            around: RefCell::default(),
        }
    }

    /// Whether a model's context is too small, as far as an estimate can tell; what it can't, is counted when the model
    /// is chosen.
    pub(super) fn exceeds_context(&self, model: &ProviderModel) -> bool {
        let Some(context) = model.context else {
            return false;
        };
        let (_, most) = tokens::bounds(self.bytes);
        let most = self.around(model).saturating_add(most);
        most > context && self.whole(model, self.known(model.tokenizer)).at_least() > context
    }

    /// What is known of a provider's model; counts if its policy or its context wants that.
    pub(super) fn of(&self, model: &ProviderModel, counter: &mut Counter) -> Tokens {
        let known = self.whole(model, self.known(model.tokenizer));
        let asked = model.count == CountWhen::Exact;
        if asked || model.context.is_some_and(|context| known.is_unsure_of(context)) {
            let how = if asked { Counted::Asked } else { Counted::Needed };
            return self.whole(model, self.counted(model.tokenizer, (how, u64::MAX), counter));
        }
        known
    }

    /// Counts, because it matters whether the texts have more tokens than `room`; at least beyond doubt whether they
    /// do. What can't be counted stays estimated, and is then all that can be known.
    pub(super) fn decide(&self, model: &ProviderModel, room: u64, counter: &mut Counter) -> Tokens {
        self.whole(
            model,
            self.counted(model.tokenizer, (Counted::Needed, room), counter),
        )
    }

    fn whole(&self, model: &ProviderModel, texts: Texts) -> Tokens {
        Tokens {
            prompt: Estimate {
                text: texts.tokens,
                around: self.around(model),
            },
            certainty: texts.certainty,
            tokenizer: model.tokenizer,
            how: texts.how,
        }
    }

    /// Computed once a model: it is a walk over all messages, tools and images.
    fn around(&self, model: &ProviderModel) -> u64 {
        let known = |(other, _): &&(*const ProviderModel, u64)| core::ptr::eq(*other, model);
        if let Some((_, around)) = self.around.borrow().iter().find(known) {
            return *around;
        }
        let around = tokens::around(self.prompt, model);
        self.around
            .borrow_mut()
            .push((core::ptr::from_ref(model), around));
        around
    }

    fn known(&self, tokenizer: Tokenizer) -> Texts {
        let known = self.cell(tokenizer).get();
        known.unwrap_or_else(|| {
            let estimated = self.estimated(tokenizer);
            self.cell(tokenizer).set(Some(estimated));
            estimated
        })
    }

    fn estimated(&self, tokenizer: Tokenizer) -> Texts {
        let text = tokens::text_tokens(&self.prompt.texts, tokenizer);
        let countable = Encoding::of(tokenizer).is_some();
        let (certainty, how) = match (countable, self.bytes > self.most_bytes) {
            (false, _) => (Certainty::Estimated, Counted::Estimated),
            (true, true) => (Certainty::Estimated, Counted::Oversize),
            (true, false) => {
                let (least, most) = tokens::bounds(self.bytes);
                (Certainty::Countable { least, most }, Counted::Estimated)
            }
        };
        Texts {
            tokens: text,
            certainty,
            how,
        }
    }

    fn counted(&self, tokenizer: Tokenizer, (how, room): (Counted, u64), counter: &mut Counter) -> Texts {
        let known = self.known(tokenizer);
        let (Certainty::Countable { most, .. }, Some(encoding)) = (known.certainty, Encoding::of(tokenizer))
        else {
            return known;
        };
        match counter.count(&self.prompt.texts, encoding, room) {
            Count::Exactly(tokens) => {
                let counted = Texts {
                    tokens,
                    certainty: Certainty::Counted,
                    how,
                };
                self.cell(tokenizer).set(Some(counted));
                counted
            }
            // By nobody knows how much: the estimate says when to come back.
            Count::Over => {
                let least = room.saturating_add(1);
                Texts {
                    tokens: known.tokens.max(least),
                    certainty: Certainty::Countable {
                        least,
                        most: most.max(least),
                    },
                    how,
                }
            }
        }
    }

    fn cell(&self, tokenizer: Tokenizer) -> &Cell<Option<Texts>> {
        let [o200k, cl100k, estimate] = &self.known;
        match tokenizer {
            Tokenizer::O200k => o200k,
            Tokenizer::Cl100k => cl100k,
            Tokenizer::Estimate => estimate,
        }
    }
}
