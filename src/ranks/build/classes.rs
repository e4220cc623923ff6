//! The classes of characters that the patterns tell apart, for every code point, in two stages.

use regex_syntax::hir::{Class, HirKind};
use std::fs;
use std::path::Path;

/// The sets of the patterns, in the order of the bits in `src/class.rs`; a newline is a space too, the first that matches counts.
const SETS: [&str; 7] = [
    r"[\r\n]",
    r"\s",
    r"\p{N}",
    r"[\p{Lu}\p{Lt}]",
    r"\p{Ll}",
    r"[\p{Lm}\p{Lo}]",
    r"\p{M}",
];
/// What is in none of them.
const OTHER: u8 = 1 << 7;
const BLOCK: usize = 256;

/// Writes `classes.bin`: the number of each block of 256 code points, then the different blocks; and `classes.rs`.
pub(crate) fn write(out: &Path) {
    let mut points = vec![OTHER; 0x11_0000];
    for (bit, set) in SETS.iter().enumerate().rev() {
        for (first, last) in ranges(set) {
            points[first as usize..=last as usize].fill(1 << bit);
        }
    }
    let mut blocks: Vec<&[u8]> = Vec::new();
    let mut file = Vec::new();
    for block in points.chunks(BLOCK) {
        let known = blocks.iter().position(|other| *other == block);
        let number = known.unwrap_or_else(|| {
            blocks.push(block);
            blocks.len() - 1
        });
        file.push(u8::try_from(number).expect("fewer than 256 different blocks"));
    }
    file.extend(blocks.concat());
    fs::write(out.join("classes.bin"), file).expect("OUT_DIR can be written");
    fs::write(out.join("classes.rs"), format!("{}\n", blocks.len())).expect("OUT_DIR can be written");
}

fn ranges(set: &str) -> Vec<(u32, u32)> {
    let parsed = regex_syntax::parse(set)
        .expect("a set that regex-syntax knows")
        .into_kind();
    let HirKind::Class(Class::Unicode(class)) = parsed else {
        panic!("{set} isn't a set of characters")
    };
    class
        .iter()
        .map(|range| (range.start().into(), range.end().into()))
        .collect()
}
