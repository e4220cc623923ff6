//! Whole exchanges in every order: from the headers to the record, with limits and breakers as the gateway uses them.

use std::collections::BTreeMap;

use spillway::body::cache::Schemas;
use spillway::exchange::{
    Body, Effects, Ending, Exchange, Flow, Gateway, RequestHead, ResponseHead, Step, Turn,
};
use spillway::failover::Load;
use spillway::headers::Headers;
use spillway::ledger::{HashKey, Ledger};
use spillway::policy;
use spillway::time::{Instant, Now, UnixMillis};
use spillway::tokens::exact::Counter;

use crate::explorer::{Desk, Program, Records, Scenario, Seen, Shelf};
use crate::{holds, is_full};

/// When all that happens, happens.
const NOW: Now = Now {
    monotonic: Instant(1_000_000_000_000),
    wall: UnixMillis(1_795_248_000_000),
};
/// Tokens of a minute; each exchange sets more than half of them aside.
const LIMIT: u64 = 10_000;

/// What the prompt of each is taken for.
const PROMPT: u64 = 10;

/// How a provider answers, or doesn't.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// With so many tokens used.
    Used(u64),
    /// 500.
    Fails,
    /// The client hangs up before it does, and is charged its prompt.
    TooLate,
}

/// What a worker has seen of its exchanges.
#[derive(Clone, Debug, Default)]
struct Word {
    /// Sent to the provider and not ended.
    open: u64,
    refused: u64,
    /// Tokens that ended exchanges used.
    used: u64,
    /// How often a breaker opened, as this worker was told.
    opened: usize,
}

fn gateway() -> Gateway {
    let document = serde_json::json!({
        "version": 1,
        "host": {"body_pause": true},
        "callers": [{"header": "x-tenant", "trusted": true}],
        "providers": {"openai": {"cluster": "openai", "dialect": "openai", "models": {"gpt-4o": {}},
            "breaker": {"consecutive": 2}}},
        "models": {"gpt-4o": {"chain": ["openai/gpt-4o"]}},
        "limits": [{"name": "tokens", "per": ["caller"], "tokens": format!("{LIMIT}/min"), "reserve": "max"}],
    });
    let policy = policy::load(&document.to_string(), &BTreeMap::<String, String>::new()).unwrap();
    let ledger = Ledger::new(HashKey::from_text("test"), policy.tracked_keys);
    Gateway::new(policy, ledger)
}

/// What is left of the caller's limit: nanoseconds until it is full, in tokens.
fn charged(gateway: &Gateway, records: &Records, now: Instant) -> u64 {
    let limit = &gateway.policy.limits[0];
    let id = b"header:acme";
    let key = gateway.ledger.key(limit, id, &[id]);
    let level = gateway.ledger.level(&Shelf::of(records), limit, key, now);
    u64::try_from(level.reset.as_nanos() * u128::from(LIMIT) / 60_000_000_000).unwrap()
}

struct Client<'a, 'd> {
    gateway: &'a Gateway,
    desk: &'a Desk<'d, Word>,
    effects: Effects,
    counter: Counter,
    schemas: Schemas,
    word: Word,
}

type Desked<'d> = Desk<'d, Word>;

impl<'d> Client<'_, 'd> {
    fn turn<T>(&mut self, run: impl FnOnce(&mut Turn<'_, Desked<'d>>) -> T) -> T {
        run(&mut Turn {
            gateway: self.gateway,
            store: self.desk,
            now: NOW,
            entropy: 200,
            counter: &mut self.counter,
            load: Load::default(),
            schemas: &mut self.schemas,
            effects: &mut self.effects,
        })
    }

    fn exchange(&mut self, answer: Answer) {
        let (exchange, step) = self.ask();
        if matches!(step.flow, Flow::Reply(_)) {
            self.word.refused += 1;
            let _ = self.turn(|turn| exchange.end(turn, Ending::Complete));
            return self.tell();
        }
        self.word.open += 1;
        self.desk.say(self.word.clone());
        match answer {
            Answer::Used(tokens) => self.answered(exchange, 200, &used(tokens)),
            Answer::Fails => self.answered(exchange, 500, "{}"),
            Answer::TooLate => {
                let _ = self.turn(|turn| exchange.end(turn, Ending::ClientAbort));
            }
        }
        self.word.open -= 1;
        self.word.used += match answer {
            Answer::Used(tokens) => tokens,
            Answer::Fails => 0,
            Answer::TooLate => PROMPT,
        };
        self.tell();
    }

    fn ask(&mut self) -> (Exchange, Step) {
        let headers: Headers = [
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            ("x-tenant", "acme"),
        ]
        .into_iter()
        .collect();
        let head = RequestHead {
            headers: &headers,
            end: false,
            property: &|_| None,
        };
        let (exchange, step) = self.turn(|turn| Exchange::Start.request_headers(turn, &head));
        if matches!(step.flow, Flow::Reply(_)) {
            return (exchange, step);
        }
        let text =
            r#"{"model": "gpt-4o", "max_tokens": 6000, "messages": [{"role": "user", "content": "hello"}]}"#;
        self.turn(|turn| exchange.request_body(turn, &body(text)))
    }

    fn answered(&mut self, exchange: Exchange, status: u16, text: &str) {
        let status = status.to_string();
        let headers: Headers = [(":status", status.as_str()), ("content-type", "application/json")]
            .into_iter()
            .collect();
        let head = ResponseHead {
            headers: &headers,
            end: false,
            property: &|_| None,
        };
        let (exchange, _) = self.turn(|turn| exchange.response_headers(turn, &head));
        let (exchange, _) = self.turn(|turn| exchange.response_body(turn, &body(text)));
        let _ = self.turn(|turn| exchange.end(turn, Ending::Complete));
    }

    /// The tick, until nothing is left to write; then what it all came to.
    fn tell(&mut self) {
        while !(self.effects.bookings.is_empty() && self.effects.transitions.is_empty()) {
            let bookings = std::mem::take(&mut self.effects.bookings);
            let transitions = std::mem::take(&mut self.effects.transitions);
            self.turn(|turn| turn.retry(bookings, transitions));
        }
        let opened = self
            .effects
            .changes
            .iter()
            .filter(|change| change.transition.to.as_str() == "open");
        self.word.opened = opened.count();
        self.desk.say(self.word.clone());
        self.desk.mark(format!("{:?}", self.word));
    }
}

fn body(text: &str) -> Body<'_> {
    // The closure of a test's body lives as long as the test: texts are few and short.
    let bytes = text.as_bytes().to_vec();
    let read = move |start: usize, most: usize| bytes[start..].iter().copied().take(most).collect();
    Body {
        size: text.len(),
        end: true,
        read: Box::leak(Box::new(read)),
    }
}

fn used(tokens: u64) -> String {
    serde_json::json!({
        "id": "chatcmpl-1", "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": PROMPT, "completion_tokens": tokens - PROMPT, "total_tokens": tokens},
    })
    .to_string()
}

fn client<'a>(gateway: &'a Gateway, answers: &'a [Answer]) -> Program<'a, Word> {
    Box::new(move |desk| {
        let mut client = Client {
            gateway,
            desk,
            effects: Effects::default(),
            counter: Counter::new(),
            schemas: Schemas::default(),
            word: Word::default(),
        };
        answers.iter().for_each(|answer| client.exchange(*answer));
    })
}

fn total(workers: &[Seen<'_, Word>]) -> Word {
    let words = workers.iter().filter_map(|worker| worker.said);
    words.fold(Word::default(), |sum, word| Word {
        open: sum.open + word.open,
        refused: sum.refused + word.refused,
        used: sum.used + word.used,
        opened: sum.opened + word.opened,
    })
}

/// What a minute later is still charged is measured too: all has refilled by then.
fn clients<'a>(
    gateway: &'a Gateway,
    answers: &'a [&'a [Answer]],
    opened: usize,
) -> Scenario<'a, Word, [u64; 2]> {
    Scenario {
        workers: answers.iter().map(|answers| client(gateway, answers)).collect(),
        measure: Box::new(|records| {
            let minute = core::time::Duration::from_secs(60);
            [NOW.monotonic, NOW.monotonic.after(minute)].map(|now| charged(gateway, records, now))
        }),
        check: Box::new(move |[now, later], workers| {
            let (total, over) = (total(workers), workers.iter().all(|worker| worker.done));
            let promised = total.open * 6_000 + total.used;
            let settled = !over || (*now == total.used && total.opened == opened);
            match promised <= LIMIT && settled && total.opened <= opened && *later == 0 {
                true => Ok(()),
                false => Err(format!("charged {now}, a minute later {later}, {total:?}")),
            }
        }),
        ..Scenario::default()
    }
}

#[test]
fn whole_exchanges_never_share_what_is_there_for_one() {
    let gateway = gateway();
    let answers: [&[Answer]; 3] = [&[Answer::Used(3_000)], &[Answer::Used(1_000)], &[Answer::TooLate]];
    let count = if is_full() { 3 } else { 2 };
    holds(
        format!("{count} exchanges"),
        &clients(&gateway, &answers[..count], 0),
    );
    holds(
        "an exchange and a client that hangs up",
        &clients(&gateway, &answers[1..], 0),
    );
}

#[test]
fn whole_exchanges_that_fail_open_the_breaker_once() {
    let gateway = gateway();
    let answers: [&[Answer]; 2] = [&[Answer::Fails], &[Answer::Fails]];
    let mut scenario = clients(&gateway, &answers, 1);
    // The one who is refused for the other's tokens sends nothing, and then one failure is all there is.
    scenario.check = Box::new(|[now, later], workers| {
        let (total, over) = (total(workers), workers.iter().all(|worker| worker.done));
        let opened = usize::from(total.refused == 0);
        match !over || (*now == 0 && *later == 0 && total.opened == opened) {
            true => Ok(()),
            false => Err(format!("charged {now}, {total:?}")),
        }
    });
    holds("2 exchanges that fail", &scenario);
}

#[test]
fn a_vm_that_traps_in_an_exchange_leaves_what_refills_in_a_minute() {
    let gateway = gateway();
    let answers: [&[Answer]; 2] = [&[Answer::Used(3_000)], &[Answer::Used(1_000)]];
    let mut scenario = clients(&gateway, &answers, 0);
    scenario.vanish = 2;
    scenario.check = Box::new(|[now, later], workers| {
        let total = total(workers);
        match *now >= total.used.min(LIMIT) && *now <= LIMIT && *later == 0 {
            true => Ok(()),
            false => Err(format!("charged {now}, a minute later {later}, {total:?}")),
        }
    });
    holds("2 exchanges, both may trap", &scenario);
}
