//! How well the guards' built-in kinds do on the labelled lines (README.md beside this): precision and recall per kind.
//!
//! `cargo test --test guards -- --nocapture` prints the tables; with GUARD_MISSES=1 also what went wrong on the lines that
//! the detectors are tuned on. What is held out is only counted.

// A label that can't be read should stop the test where it stands.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use spillway::guard::{Kind, find};

const LINES: [&str; 2] = [include_str!("handwritten.txt"), include_str!("generated.txt")];

/// A line without its marks, and what they said.
struct Line {
    text: String,
    labels: BTreeSet<Label>,
    held_out: bool,
}

type Label = (Kind, usize, usize);

impl Line {
    fn read(written: &str) -> Self {
        let held_out = fnv1a(written).is_multiple_of(3);
        let written = written.replace('¦', "");
        let (mut text, mut labels, mut rest) = (String::new(), BTreeSet::new(), written.as_str());
        while let Some((before, marked)) = rest.split_once('⟦') {
            text.push_str(before);
            let (label, after) = marked.split_once('⟧').unwrap();
            let (name, value) = label.split_once(':').unwrap();
            let kind = Kind::NAMED.into_iter().find(|kind| kind.name() == name).unwrap();
            labels.insert((kind, text.len(), text.len() + value.len()));
            text.push_str(value);
            rest = after;
        }
        text.push_str(rest);
        Self {
            text,
            labels,
            held_out,
        }
    }
}

fn fnv1a(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

fn lines() -> Vec<Line> {
    LINES
        .iter()
        .flat_map(|file| file.lines())
        .map(Line::read)
        .collect()
}

#[derive(Default)]
struct Score {
    right: u32,
    wrong: u32,
    missed: u32,
}

impl Score {
    fn precision(&self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.wrong).max(1))
    }

    fn recall(&self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.missed).max(1))
    }
}

fn found(line: &Line) -> BTreeSet<Label> {
    let all = find(&line.text, Kind::NAMED.into_iter().collect());
    all.into_iter()
        .map(|(kind, Range { start, end })| (kind, start, end))
        .collect()
}

fn scores(lines: &[Line], held_out: bool) -> BTreeMap<Kind, Score> {
    let mut scores: BTreeMap<Kind, Score> = BTreeMap::new();
    let show = std::env::var_os("GUARD_MISSES").is_some() && !held_out;
    for line in lines.iter().filter(|line| line.held_out == held_out) {
        let found = found(line);
        for label in found.union(&line.labels) {
            let score = scores.entry(label.0).or_default();
            match (found.contains(label), line.labels.contains(label)) {
                (true, true) => score.right += 1,
                (true, false) => score.wrong += 1,
                (false, _) => score.missed += 1,
            }
        }
        if show && found != line.labels {
            println!(
                "{}\n    labels {:?}\n    found  {found:?}",
                line.text, line.labels
            );
        }
    }
    scores
}

fn total(scores: &BTreeMap<Kind, Score>) -> Score {
    scores.values().fold(Score::default(), |sum, score| Score {
        right: sum.right + score.right,
        wrong: sum.wrong + score.wrong,
        missed: sum.missed + score.missed,
    })
}

fn print(title: &str, scores: &BTreeMap<Kind, Score>) {
    println!(
        "{title:<10} {:>6} {:>6} {:>6} {:>10} {:>7}",
        "right", "wrong", "missed", "precision", "recall"
    );
    let row = |name: &str, s: &Score| {
        println!(
            "{name:<10} {:>6} {:>6} {:>6} {:>9.1}% {:>6.1}%",
            s.right,
            s.wrong,
            s.missed,
            s.precision() * 100.0,
            s.recall() * 100.0
        );
    };
    for (kind, score) in scores {
        row(kind.name(), score);
    }
    row("all", &total(scores));
}

/// Every kind and all together at least so precise and so complete.
fn assert_floor(scores: &BTreeMap<Kind, Score>, [each, all]: [f64; 2]) {
    for (kind, score) in scores {
        assert!(
            score.precision() >= each && score.recall() >= each,
            "{}",
            kind.name()
        );
    }
    let all_of_them = total(scores);
    assert!(all_of_them.precision() >= all && all_of_them.recall() >= all);
}

#[test]
fn there_are_enough_labels_and_hard_negatives() {
    let lines = lines();
    let without = lines.iter().filter(|line| line.labels.is_empty()).count();
    let held_out = lines.iter().filter(|line| line.held_out).count();
    assert!(lines.len() >= 1_000 && without >= 500);
    assert!((lines.len() / 4..lines.len() * 5 / 12).contains(&held_out));
}

#[test]
fn what_the_detectors_are_tuned_on_is_found_and_nothing_else() {
    let scores = scores(&lines(), false);
    print("tuned on", &scores);
    assert_floor(&scores, [0.98, 0.99]);
}

#[test]
fn what_was_held_out_is_found_and_little_else() {
    let scores = scores(&lines(), true);
    print("held out", &scores);
    assert_floor(&scores, [0.97, 0.99]);
}
