//! The store as a worker under the explorer reaches it: its first calls are answered from a tape, and at the one after it
//! is stopped. And the store as checks reach it, and the ways to break it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use spillway::store::{Cas, Store, StoreError};

/// What is in the store: each record with its version, the number of times it was written.
pub(crate) type Records = BTreeMap<String, (Vec<u8>, u32)>;

/// How the store is broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Not at all.
    #[default]
    None,
    /// Every write lands, whatever version it expects.
    NoCompare,
    /// A write that expects no record lands on any: what a CAS of 0 does in proxy-wasm.
    AbsentOverwrites,
    /// A write that lost its race says that it landed.
    ConflictUntold,
    /// A record never changes its version.
    SameVersion,
    /// Within one operation a record that is read again has its new version, and the bytes of the first time: code that
    /// runs a lost race again without looking.
    StaleBytes,
}

/// A call of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Read(String),
    /// With the version expected; none: it must be absent.
    Write(String, Vec<u8>, Option<u32>),
}

/// What a call answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Read(Vec<u8>, Option<u32>),
    Written,
    Conflict,
    Unavailable,
}

/// The store as one worker reaches it, and where it says what it knows. Its first calls are answered from the tape; at the
/// one after, the worker is stopped.
pub(crate) struct Desk<'a, E> {
    tape: &'a [Rc<Answer>],
    at: Cell<usize>,
    next: RefCell<Option<Call>>,
    said: RefCell<Option<E>>,
    soon: RefCell<Option<E>>,
    mark: RefCell<Option<(String, usize)>>,
    /// What was read first in this operation, where that is to be read again.
    first: Option<RefCell<HashMap<String, Vec<u8>>>>,
}

/// What a stopped worker unwinds with.
struct Stopped;

/// Where a worker was stopped.
pub(crate) struct Stop<E> {
    /// Its next call; none at its end.
    pub(crate) call: Option<Call>,
    /// What it said last.
    pub(crate) said: Option<E>,
    /// What it knew at its last mark, and how many answers it had had by then.
    pub(crate) mark: Option<(String, usize)>,
}

impl<'a, E> Desk<'a, E> {
    fn new(tape: &'a [Rc<Answer>], flaw: Flaw) -> Self {
        Self {
            tape,
            at: Cell::new(0),
            next: RefCell::new(None),
            said: RefCell::new(None),
            soon: RefCell::new(None),
            mark: RefCell::new(None),
            first: (flaw == Flaw::StaleBytes).then(RefCell::default),
        }
    }

    /// Runs a worker on these answers, up to its next call.
    pub(crate) fn run(tape: &'a [Rc<Answer>], flaw: Flaw, program: &dyn Fn(&Desk<'_, E>)) -> Stop<E> {
        let desk = Desk::new(tape, flaw);
        let ended = catch_unwind(AssertUnwindSafe(|| program(&desk)));
        if let Err(cause) = ended
            && !cause.is::<Stopped>()
        {
            resume_unwind(cause);
        }
        Stop {
            call: desk.next.take(),
            said: desk.said.take(),
            mark: desk.mark.take(),
        }
    }

    /// Tells the checks what this worker has reached; they hear its last word.
    pub(crate) fn say(&self, word: E) {
        self.said.replace(Some(word));
        self.soon.replace(None);
    }

    /// Tells the checks what this worker reaches with its next call: until that is answered, all is as it was.
    pub(crate) fn say_next(&self, word: E) {
        self.soon.replace(Some(word));
    }

    /// Between two operations: all that this worker still knows of what it was answered, its last word among it.
    pub(crate) fn mark(&self, known: String) {
        self.mark.replace(Some((known, self.at.get())));
        if let Some(first) = &self.first {
            first.borrow_mut().clear();
        }
    }

    fn call(&self, call: Call) -> &Answer {
        let Some(answer) = self.tape.get(self.at.get()) else {
            self.next.replace(Some(call));
            resume_unwind(Box::new(Stopped));
        };
        self.at.set(self.at.get() + 1);
        if let Some(word) = self.soon.take() {
            self.say(word);
        }
        answer
    }
}

impl<E> Store for Desk<'_, E> {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        match self.call(Call::Read(key.to_owned())) {
            Answer::Read(bytes, version) => {
                let first = self.first.as_ref().map(|first| {
                    let mut first = first.borrow_mut();
                    first
                        .entry(key.to_owned())
                        .or_insert_with(|| bytes.clone())
                        .clone()
                });
                let version = version.map_or(Cas::Absent, Cas::Version);
                Ok((first.unwrap_or_else(|| bytes.clone()), version))
            }
            Answer::Written | Answer::Conflict | Answer::Unavailable => Err(StoreError::Unavailable),
        }
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        let expected = match expected {
            Cas::Absent => None,
            Cas::Version(version) => Some(version),
        };
        match self.call(Call::Write(key.to_owned(), value.to_vec(), expected)) {
            Answer::Written | Answer::Read(..) => Ok(()),
            Answer::Conflict => Err(StoreError::Conflict),
            Answer::Unavailable => Err(StoreError::Unavailable),
        }
    }
}

/// Records that checks and set-ups may use as a store of their own.
#[derive(Default)]
pub(crate) struct Shelf(pub(crate) RefCell<Records>);

impl Shelf {
    /// A copy to try things on.
    pub(crate) fn of(records: &Records) -> Self {
        Self(RefCell::new(records.clone()))
    }
}

impl Store for Shelf {
    fn read(&self, key: &str) -> Result<(Vec<u8>, Cas), StoreError> {
        let records = self.0.borrow();
        let found = records.get(key).cloned();
        Ok(found.map_or((Vec::new(), Cas::Absent), |(bytes, version)| {
            (bytes, Cas::Version(version))
        }))
    }

    fn write(&self, key: &str, value: &[u8], expected: Cas) -> Result<(), StoreError> {
        let expected = match expected {
            Cas::Absent => None,
            Cas::Version(version) => Some(version),
        };
        let call = Call::Write(key.to_owned(), value.to_vec(), expected);
        match answer(&mut self.0.borrow_mut(), &call, Flaw::None) {
            Answer::Conflict => Err(StoreError::Conflict),
            Answer::Read(..) | Answer::Written | Answer::Unavailable => Ok(()),
        }
    }
}

/// Does what a call asks for.
pub(crate) fn answer(records: &mut Records, call: &Call, flaw: Flaw) -> Answer {
    match call {
        Call::Read(key) => {
            let found = records.get(key).cloned();
            found.map_or(Answer::Read(Vec::new(), None), |(bytes, version)| {
                Answer::Read(bytes, Some(version))
            })
        }
        Call::Write(key, value, expected) => {
            let version = records.get(key).map(|(_, version)| *version);
            let lands = match flaw {
                Flaw::NoCompare => true,
                Flaw::AbsentOverwrites => *expected == version || expected.is_none(),
                Flaw::None | Flaw::ConflictUntold | Flaw::SameVersion | Flaw::StaleBytes => {
                    *expected == version
                }
            };
            if lands {
                let step = u32::from(flaw != Flaw::SameVersion);
                records.insert(
                    key.clone(),
                    (value.clone(), version.map_or(1, |version| version + step)),
                );
            }
            let told = lands || flaw == Flaw::ConflictUntold;
            if told { Answer::Written } else { Answer::Conflict }
        }
    }
}
