//! The fit in two stages: a coarse one, a weight per class and way of joining, and from there a fine one.

use crate::corpus::{self, Text};
use crate::encoding::{self, Encoding};
use crate::rows::{self, FEATURES, Row};
use crate::solve::{Slot, solve};
use crate::write;
use spillway::tokens::class;
use spillway::tokens::walk::CLASS_FEATURES;
use std::error::Error;
use std::fmt::Write;

/// How strongly the fine weights are drawn to the coarse ones.
#[derive(Clone, Copy)]
pub struct Pulls {
    classes: f64,
    letters: f64,
}

/// What `tune` found best.
const PULLS: Pulls = Pulls {
    classes: 0.005,
    letters: 0.02,
};

/// Features that pair two classes come first, then positions in runs (16 a class), then repetitions, short and long.
const RUNS: usize = class::COUNT * class::COUNT;
const REPEATS: usize = RUNS + class::COUNT * 16;
const LONG_REPEATS: usize = REPEATS + class::COUNT;
const ENDED: usize = LONG_REPEATS + class::COUNT;

/// The text of `coefficients.rs`.
pub fn file() -> Result<String, Box<dyn Error>> {
    let texts = corpus::load("fit")?;
    let mut tables = Vec::new();
    for encoding in encoding::all()? {
        let rows = rows::of(texts.iter(), &encoding);
        tables.push((encoding.name, weights(&rows, PULLS)));
    }
    Ok(write::file(&tables))
}

/// Mean error over the fitting set, each fourth of its files judged by what was fitted to the others.
pub fn tune() -> Result<String, Box<dyn Error>> {
    let texts = corpus::load("fit")?;
    let mut table = String::new();
    let [o200k, _] = encoding::all()?;
    for classes in [0.005, 0.02, 0.1, 0.5] {
        for letters in [0.005, 0.02, 0.1, 0.5, 1e9] {
            let error = cross_validate(&texts, &o200k, Pulls { classes, letters });
            writeln!(
                table,
                "classes {classes:>6} letters {letters:>6}  {:.2} %",
                error * 100.0
            )?;
        }
    }
    Ok(table)
}

fn cross_validate(texts: &[Text], encoding: &Encoding, pulls: Pulls) -> f64 {
    const FOLDS: usize = 4;
    let fold = |k: usize, inside: bool| {
        let chosen = texts
            .iter()
            .enumerate()
            .filter(move |(i, _)| (i % FOLDS == k) == inside);
        rows::of(chosen.map(|(_, text)| text), encoding)
    };
    let (mut sum, mut count) = (0.0, 0.0);
    for k in 0..FOLDS {
        let weights = weights(&fold(k, false), pulls);
        for row in fold(k, true).iter().filter(|row| row.tokens > 0.0) {
            sum += (estimate(row, &weights) / row.tokens - 1.0).abs() * row.weight;
            count += row.weight;
        }
    }
    sum / count
}

fn estimate(row: &Row, weights: &[f64]) -> f64 {
    row.counts
        .iter()
        .map(|(feature, count)| count * weights[*feature])
        .sum()
}

fn weights(rows: &[Row], pulls: Pulls) -> Vec<f64> {
    let coarse = coarse(rows);
    let seen = seen(rows);
    let slots: Vec<Slot> = seen
        .iter()
        .map(|feature| fine_slot(*feature, &coarse, pulls))
        .collect();
    let mut place = vec![None; FEATURES];
    for (slot, feature) in seen.iter().enumerate() {
        place[*feature] = Some(slot);
    }
    let fitted = solve(rows, &slots, |feature| place[feature]);
    (0..FEATURES)
        .map(|feature| {
            place[feature].map_or_else(|| fine_slot(feature, &coarse, pulls).prior, |slot| fitted[slot])
        })
        .collect()
}

fn seen(rows: &[Row]) -> Vec<usize> {
    let mut seen = vec![false; FEATURES];
    rows.iter()
        .flat_map(|row| &row.counts)
        .for_each(|(feature, _)| seen[*feature] = true);
    (0..FEATURES).filter(|feature| seen[*feature]).collect()
}

fn fine_slot(feature: usize, coarse: &[f64], pulls: Pulls) -> Slot {
    match coarse_slot(feature) {
        Some(slot) => Slot {
            prior: coarse[slot],
            pull: pulls.classes,
            least: 0.0,
        },
        None => Slot {
            prior: 0.0,
            pull: pulls.letters,
            least: -1.0,
        },
    }
}

/// Four weights a class: to begin with it, to go on with it, to repeat a character of it, to repeat it often.
fn coarse(rows: &[Row]) -> Vec<f64> {
    let slots: Vec<Slot> = (0..4 * class::COUNT)
        .map(|slot| coarse_prior(slot / 4, slot % 4))
        .collect();
    solve(rows, &slots, coarse_slot)
}

fn coarse_slot(feature: usize) -> Option<usize> {
    match feature {
        0..RUNS => Some(feature % class::COUNT * 4),
        RUNS..REPEATS => Some((feature - RUNS) / 16 * 4 + 1),
        REPEATS..LONG_REPEATS => Some((feature - REPEATS) * 4 + 2),
        LONG_REPEATS..ENDED => Some((feature - LONG_REPEATS) * 4 + 3),
        ENDED..CLASS_FEATURES => Some(0),
        _ => None,
    }
}

/// For what the texts don't have: a token to begin a run, and one per two characters of it.
fn coarse_prior(of_class: usize, way: usize) -> Slot {
    let rare = of_class >= usize::from(class::MARK);
    let prior = match way {
        0 => 0.7,
        1 => {
            if rare {
                1.0
            } else {
                0.4
            }
        }
        _ => 0.3,
    };
    Slot {
        prior,
        pull: 0.002,
        least: 0.0,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_weights_in_the_source_are_those_that_the_fit_gives() {
        let written = std::fs::read_to_string(crate::coefficients()).unwrap();
        assert!(super::file().unwrap() == written, "run `fit` again");
    }
}
