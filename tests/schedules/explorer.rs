//! Every schedule of a few workers that share one store, stepped at each store call.
//!
//! A worker computes on what its store calls answered and on nothing else, so what it does next is known from the
//! answers so far: it is run again from its beginning, fed with them, and stopped at its next call. The whole system is
//! then the store's records and each worker's answers. Two schedules that lead to the same of both have the same
//! future, which is explored once and counted as often as it is reached. So the number of schedules is exact, although
//! most of them are never walked one by one. Between two operations, a worker may say all that it still knows
//! ([`Desk::mark`]): what it was answered before that is then forgotten.
//!
//! Beside being slow, a worker may stop for good at any call (a trapped VM), and the store may fail to answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use crate::desk::{Answer, Call, answer};
pub(crate) use crate::desk::{Desk, Flaw, Records, Shelf};

/// At most so many workers.
pub(crate) const MOST: usize = 3;

/// What a worker does, from its beginning to its end.
pub(crate) type Program<'a, E> = Box<dyn Fn(&Desk<'_, E>) + 'a>;

/// A worker as a check sees it.
pub(crate) struct Seen<'a, E> {
    /// What it said last.
    pub(crate) said: Option<&'a E>,
    /// It came to its end.
    pub(crate) done: bool,
    /// It stopped for good.
    pub(crate) gone: bool,
}

/// What must hold in every state, of what was measured of the store and of what the workers said.
pub(crate) type Check<'a, E, M> = Box<dyn Fn(&M, &[Seen<'_, E>]) -> Result<(), String> + 'a>;

/// Workers, a store, and what must hold.
pub(crate) struct Scenario<'a, E, M> {
    /// What is in the store at first.
    pub(crate) before: Records,
    /// At most [`MOST`].
    pub(crate) workers: Vec<Program<'a, E>>,
    /// How many of them may stop for good.
    pub(crate) vanish: u8,
    /// How many store calls may go unanswered.
    pub(crate) failures: u8,
    /// How many writes may find that somebody outside was there first, and wrote the same.
    pub(crate) conflicts: u8,
    /// How the store is broken.
    pub(crate) flaw: Flaw,
    /// Walks every schedule by itself: to see that taking equal states together changes nothing.
    pub(crate) one_by_one: bool,
    /// Reads what checks need off the store.
    pub(crate) measure: Box<dyn Fn(&Records) -> M + 'a>,
    /// What must hold.
    pub(crate) check: Check<'a, E, M>,
}

/// What came of exploring.
#[derive(Debug)]
pub(crate) struct Found {
    /// How many schedules there are.
    pub(crate) schedules: u128,
    /// How many different states they lead through.
    pub(crate) states: usize,
    /// Steps of the longest schedule: store calls, and workers that stop for good.
    pub(crate) longest: usize,
    /// Store calls of the longest operation, if workers mark them.
    pub(crate) operation: usize,
    /// What didn't hold, and the schedule that led there. Exploring ends with the first.
    pub(crate) violation: Option<String>,
}

impl<E, M: Default> Default for Scenario<'_, E, M> {
    /// Nobody does anything to an empty store, and nothing is checked.
    fn default() -> Self {
        Self {
            before: Records::new(),
            workers: Vec::new(),
            vanish: 0,
            failures: 0,
            conflicts: 0,
            flaw: Flaw::None,
            one_by_one: false,
            measure: Box::new(|_| M::default()),
            check: Box::new(|_, _| Ok(())),
        }
    }
}

impl<E, M> Scenario<'_, E, M> {
    /// Explores every schedule.
    pub(crate) fn explore(&self) -> Found {
        assert!(self.workers.len() <= MOST);
        let mut explorer = Explorer::new(self);
        let start = explorer.start();
        let ways = explorer.from(start);
        Found {
            schedules: ways.schedules,
            states: explorer.counted.len(),
            longest: ways.longest,
            operation: explorer.operation,
            violation: explorer.violation,
        }
    }

    /// What is in the store after the first worker alone has come to its end.
    pub(crate) fn outcome(&self) -> Records {
        let mut explorer = Explorer::new(self);
        let mut state = explorer.start();
        while let Some(call) = explorer.call(&state, 0) {
            let (records, answer) = explorer.made(state.records, call);
            state = explorer.moved(State { records, ..state }, 0, answer);
        }
        Records::clone(explorer.records.thing(state.records))
    }
}

/// Numbers for things, so that equal ones are one.
struct Names<T> {
    numbers: HashMap<Rc<T>, u32>,
    things: Vec<Rc<T>>,
}

impl<T: Eq + Hash> Names<T> {
    fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            things: Vec::new(),
        }
    }

    fn number(&mut self, thing: T) -> u32 {
        if let Some(number) = self.numbers.get(&thing) {
            return *number;
        }
        let (number, thing) = (u32::try_from(self.things.len()).unwrap(), Rc::new(thing));
        self.things.push(Rc::clone(&thing));
        self.numbers.insert(thing, number);
        number
    }

    fn thing(&self, number: u32) -> &Rc<T> {
        &self.things[number as usize]
    }
}

/// Where a worker stands after certain answers.
struct Place<E> {
    worker: usize,
    answers: Vec<u32>,
    /// Its next call; none at its end.
    call: Option<u32>,
    said: Option<E>,
}

/// What tells a place from others: the worker, what it knew at its last mark, and the answers since.
type Sign = (usize, Option<String>, Vec<u32>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    records: u32,
    places: [u32; MOST],
    /// A bit for each worker that stopped for good.
    gone: u8,
    failures: u8,
    conflicts: u8,
}

struct Explorer<'s, 'a, E, M> {
    scenario: &'s Scenario<'a, E, M>,
    records: Names<Records>,
    measured: HashMap<u32, Rc<M>>,
    calls: Names<Call>,
    answers: Names<Answer>,
    places: Vec<Place<E>>,
    signs: HashMap<Sign, u32>,
    next: HashMap<(u32, u32), u32>,
    moves: HashMap<(u32, u32), (u32, u32)>,
    /// States that were explored, with the schedules from there.
    counted: HashMap<State, Ways>,
    path: Vec<(usize, Option<u32>, u32)>,
    operation: usize,
    violation: Option<String>,
}

/// The schedules that begin in a state: how many, and the steps of the longest.
#[derive(Clone, Copy, Default)]
struct Ways {
    schedules: u128,
    longest: usize,
}

impl Ways {
    /// Both, of one state.
    fn or(self, other: Self) -> Self {
        Self {
            schedules: self.schedules + other.schedules,
            longest: self.longest.max(other.longest),
        }
    }
}

impl<'s, 'a, E, M> Explorer<'s, 'a, E, M> {
    fn new(scenario: &'s Scenario<'a, E, M>) -> Self {
        Self {
            scenario,
            records: Names::new(),
            measured: HashMap::new(),
            calls: Names::new(),
            answers: Names::new(),
            places: Vec::new(),
            signs: HashMap::new(),
            next: HashMap::new(),
            moves: HashMap::new(),
            counted: HashMap::new(),
            path: Vec::new(),
            operation: 0,
            violation: None,
        }
    }

    fn start(&mut self) -> State {
        let mut places = [0; MOST];
        for (worker, place) in places.iter_mut().enumerate().take(self.scenario.workers.len()) {
            *place = self.place(worker, Vec::new());
        }
        State {
            records: self.records.number(self.scenario.before.clone()),
            places,
            gone: 0,
            failures: 0,
            conflicts: 0,
        }
    }

    /// Runs a worker on these answers, up to its next call.
    fn place(&mut self, worker: usize, answers: Vec<u32>) -> u32 {
        let tape: Vec<_> = answers
            .iter()
            .map(|answer| Rc::clone(self.answers.thing(*answer)))
            .collect();
        let stop = Desk::run(&tape, self.scenario.flaw, &self.scenario.workers[worker]);
        let call = stop.call.map(|call| self.calls.number(call));
        let mark = stop.mark.filter(|_| !self.scenario.one_by_one);
        let (known, since) = mark.map_or((None, 0), |(known, since)| (Some(known), since));
        self.operation = self
            .operation
            .max(answers.len() - since + usize::from(call.is_some()));
        let number = u32::try_from(self.places.len()).unwrap();
        let place = *self
            .signs
            .entry((worker, known, answers[since..].to_vec()))
            .or_insert(number);
        if place == number {
            self.places.push(Place {
                worker,
                answers,
                call,
                said: stop.said,
            });
        }
        place
    }

    /// The schedules that begin here.
    fn from(&mut self, state: State) -> Ways {
        if self.violation.is_some() {
            return Ways::default();
        }
        let known = self.counted.get(&state);
        if let Some(ways) = known.filter(|_| !self.scenario.one_by_one) {
            return *ways;
        }
        self.check(&state);
        let runnable: Vec<_> = (0..self.scenario.workers.len())
            .filter_map(|worker| Some((worker, self.call(&state, worker)?)))
            .collect();
        let end = Ways {
            schedules: u128::from(runnable.is_empty()),
            longest: 0,
        };
        let steps = runnable.into_iter();
        let ways = steps.fold(end, |ways, (worker, call)| {
            ways.or(self.step(state, worker, call))
        });
        self.counted.insert(state, ways);
        ways
    }

    fn call(&self, state: &State, worker: usize) -> Option<u32> {
        let place = &self.places[state.places[worker] as usize];
        place.call.filter(|_| state.gone & 1 << worker == 0)
    }

    /// The worker's call is answered; or isn't; or the worker never makes it.
    fn step(&mut self, state: State, worker: usize, call: u32) -> Ways {
        let (records, answer) = self.made(state.records, call);
        let answered = State {
            records,
            ..self.moved(state, worker, answer)
        };
        let mut ways = self.along((worker, Some(call), answer), answered);
        if state.failures < self.scenario.failures {
            let answer = self.answers.number(Answer::Unavailable);
            let failures = state.failures + 1;
            let failed = self.moved(State { failures, ..state }, worker, answer);
            ways = ways.or(self.along((worker, Some(call), answer), failed));
        }
        let writes = matches!(**self.calls.thing(call), Call::Write(..));
        if writes && state.conflicts < self.scenario.conflicts {
            let answer = self.answers.number(Answer::Conflict);
            let conflicts = state.conflicts + 1;
            let beaten = self.moved(State { conflicts, ..state }, worker, answer);
            ways = ways.or(self.along((worker, Some(call), answer), beaten));
        }
        if state.gone.count_ones() < u32::from(self.scenario.vanish) {
            let gone = state.gone | 1 << worker;
            ways = ways.or(self.along((worker, None, 0), State { gone, ..state }));
        }
        ways
    }

    fn along(&mut self, step: (usize, Option<u32>, u32), to: State) -> Ways {
        self.path.push(step);
        let ways = self.from(to);
        self.path.pop();
        Ways {
            longest: ways.longest + 1,
            ..ways
        }
    }

    fn made(&mut self, records: u32, call: u32) -> (u32, u32) {
        if let Some(made) = self.moves.get(&(records, call)) {
            return *made;
        }
        let mut changed = Records::clone(self.records.thing(records));
        let answer = answer(&mut changed, self.calls.thing(call), self.scenario.flaw);
        let made = (self.records.number(changed), self.answers.number(answer));
        self.moves.insert((records, call), made);
        made
    }

    fn moved(&mut self, mut state: State, worker: usize, answer: u32) -> State {
        let place = state.places[worker];
        let known = self.next.get(&(place, answer)).copied();
        let next = known.unwrap_or_else(|| {
            let mut answers = self.places[place as usize].answers.clone();
            answers.push(answer);
            let next = self.place(self.places[place as usize].worker, answers);
            self.next.insert((place, answer), next);
            next
        });
        state.places[worker] = next;
        state
    }

    fn check(&mut self, state: &State) {
        let scenario = self.scenario;
        let records = Rc::clone(self.records.thing(state.records));
        let measured = self.measured.entry(state.records);
        let measured = Rc::clone(measured.or_insert_with(|| Rc::new((scenario.measure)(&records))));
        let seen = |worker: usize| {
            let place = &self.places[state.places[worker] as usize];
            Seen {
                said: place.said.as_ref(),
                done: place.call.is_none(),
                gone: state.gone & 1 << worker != 0,
            }
        };
        let workers: Vec<_> = (0..scenario.workers.len()).map(seen).collect();
        if let Err(what) = (scenario.check)(&measured, &workers) {
            self.violation = Some(format!("{what}, after\n{}", self.told()));
        }
    }

    /// The schedule so far, a line for each step.
    fn told(&self) -> String {
        let line = |(worker, call, answer): &(usize, Option<u32>, u32)| {
            let Some(call) = call else {
                return format!("  {worker} is gone\n");
            };
            let answer = match &**self.answers.thing(*answer) {
                Answer::Read(bytes, version) => format!("{} bytes, version {version:?}", bytes.len()),
                other @ (Answer::Written | Answer::Conflict | Answer::Unavailable) => format!("{other:?}"),
            };
            match &**self.calls.thing(*call) {
                Call::Read(key) => format!("  {worker} reads {key}: {answer}\n"),
                Call::Write(key, _, expected) => {
                    format!("  {worker} writes {key} at {expected:?}: {answer}\n")
                }
            }
        };
        self.path.iter().map(line).collect()
    }
}
