//! Every input that fuzzing kept, and every seed, still holds its target's property: on stable Rust, in `./build.sh check`.

use std::fs;
use std::path::Path;

use spillway_fuzz::mutate::Dice;
use spillway_fuzz::{TARGETS, seeds};

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| fs::read(entry.ok()?.path()).ok())
        .collect()
}

#[test]
fn every_input_of_a_corpus_holds_its_targets_property() {
    for target in TARGETS {
        let inputs = corpus(target.name);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        inputs.iter().for_each(|input| (target.run)(input));
    }
}

#[test]
fn every_seed_holds_its_targets_property() {
    for target in TARGETS {
        let inputs = seeds::seeds(target.name);
        assert!(!inputs.is_empty(), "{} has no seed", target.name);
        inputs.iter().for_each(|input| (target.run)(input));
    }
}

#[test]
fn some_thousands_of_mutated_seeds_hold_their_targets_property() {
    for target in TARGETS {
        let (inputs, mut dice) = (seeds::seeds(target.name), Dice::new(6));
        (0..500).for_each(|_| (target.run)(&dice.mutated(&inputs)));
    }
}

#[test]
fn no_corpus_is_without_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with(".") {
            continue;
        }
        assert!(TARGETS.iter().any(|target| target.name == name), "{name}");
    }
}
