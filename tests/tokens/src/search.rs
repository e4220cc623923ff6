//! Looking for the slowest input: patterns of characters, changed at random, the slowest kept.

use crate::module::Module;
use spillway::tokens::exact::Encoding;
use spillway_token_fit::random::{ALPHABETS, Random};
use std::error::Error;
use std::time::Duration;

const TRIALS: u32 = 300;
/// Bytes of an input: enough to be measured, few enough to try many.
const SIZE: usize = 1 << 17;

/// A text made of an alphabet: words of it, with something between them.
#[derive(Clone, Debug)]
struct Pattern {
    alphabet: Vec<char>,
    /// Characters of a word.
    word: usize,
    between: &'static str,
    seed: u64,
}

/// What was found.
pub struct Found {
    /// MB/s.
    pub rate: f64,
    /// The pattern.
    pub what: String,
}

/// The slowest input of many.
pub fn slowest(module: &mut Module, encoding: Encoding) -> Result<Found, Box<dyn Error>> {
    let mut random = Random::new(11);
    let mut slowest = Pattern {
        alphabet: ('a'..='z').collect(),
        word: 40,
        between: "",
        seed: 1,
    };
    for trial in 0..TRIALS {
        let pattern = slowest.changed(&mut random);
        // Both anew: a machine that was busy for a moment mustn't choose.
        if time(module, &pattern, encoding, 3)? > time(module, &slowest, encoding, 3)?
            && time(module, &pattern, encoding, 10)? > time(module, &slowest, encoding, 10)?
        {
            slowest = pattern;
            eprintln!("search, {trial}: {}", slowest.told());
        }
    }
    Ok(Found {
        rate: SIZE as f64 / 1e6 / time(module, &slowest, encoding, 50)?.as_secs_f64(),
        what: slowest.told(),
    })
}

/// The least of some, so that what is slow is the input.
fn time(
    module: &mut Module,
    pattern: &Pattern,
    encoding: Encoding,
    rounds: u32,
) -> Result<Duration, Box<dyn Error>> {
    let text = pattern.text();
    let mut least = Duration::MAX;
    for _ in 0..rounds {
        least = least.min(module.count(text.as_bytes(), encoding)?);
    }
    Ok(least)
}

impl Pattern {
    fn text(&self) -> String {
        let mut random = Random::new(self.seed);
        let mut text = String::with_capacity(SIZE + 256);
        while text.len() < SIZE {
            text.push_str(&random.string(&self.alphabet, self.word));
            text.push_str(self.between);
        }
        text.truncate(text.floor_char_boundary(SIZE));
        text
    }

    fn changed(&self, random: &mut Random) -> Self {
        let mut changed = self.clone();
        match random.below(8) {
            0 => changed.alphabet = random.one(&ALPHABETS).chars().collect(),
            1 => changed.word = 1 + random.below(60),
            2 => changed.between = *random.one(&["", " ", "'s", "\n", "a", "字", "0"]),
            3 => changed.alphabet.extend(random.one(&ALPHABETS).chars().take(4)),
            4 => {
                let first = *random.one(&[
                    0x21, 0x61, 0xc0, 0x400, 0x600, 0xe00, 0x1000, 0x3040, 0x4e00, 0xac00, 0x1f300,
                ]);
                let span = random.one(&[1, 4, 25, 90, 2000]);
                changed.alphabet = (0..50).map(|_| random.character(first, first + span)).collect();
            }
            5 => changed.alphabet.push(random.character(0x21, 0x7e)),
            6 if changed.alphabet.len() > 1 => {
                let gone = random.below(changed.alphabet.len());
                changed.alphabet.swap_remove(gone);
            }
            _ => changed.seed += 1,
        }
        changed
    }

    fn told(&self) -> String {
        let alphabet: String = self.alphabet.iter().collect();
        format!(
            "words of {} of `{}`, between them `{}`",
            self.word,
            alphabet.escape_debug(),
            self.between.escape_debug()
        )
    }
}
