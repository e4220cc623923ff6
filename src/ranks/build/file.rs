//! The binary file of an encoding, in the layout that `src/pairs.rs` reads.

use crate::{merges, perfect};
use std::fs;
use std::path::Path;
use tiktoken_rs::CoreBPE;

/// Writes `NAME.bin` and `NAME.rs`, the layout of it.
pub(crate) fn write(out: &Path, name: &str, bpe: &CoreBPE) {
    let tokens = merges::tokens(bpe);
    assert!(tokens.len() < 1 << 18, "a rank has 18 bits");
    let derivations = merges::derivations(&tokens);
    let hints = hints(&derivations);
    let token = |id: usize| (id as u32) << 8 | hints[id];
    let pairs: Vec<(u32, u32)> = derivations.iter().copied().flatten().collect();
    let placement = perfect::place(&pairs);
    let twos: Vec<usize> = (0..tokens.len()).filter(|id| tokens[*id].len() == 2).collect();

    let mut file = Vec::new();
    for slot in &placement.slots {
        let entry = slot.map_or(u64::MAX, |index| {
            u64::from(perfect::rest(pairs[index])) << 26 | u64::from(token(merges::BYTES + index))
        });
        file.extend(&entry.to_le_bytes()[..7]);
    }
    // The last slot is read with a byte of what follows.
    file.push(0);
    for slot in &placement.slots {
        file.push(slot.map_or(0, |index| perfect::tag(pairs[index])));
    }
    for byte in 0..=u8::MAX {
        let id = tokens
            .iter()
            .position(|token| token == &[byte])
            .expect("every byte is a token");
        file.extend(token(id).to_le_bytes());
    }
    for two in &twos {
        file.extend(token(*two).to_le_bytes());
    }
    file.extend(
        grid(&twos, &derivations)
            .iter()
            .flat_map(|index| index.to_le_bytes()),
    );
    for crossings in crossings(&tokens, &derivations) {
        file.extend(crossings.iter().flat_map(|fours| fours.to_le_bytes()));
    }
    file.extend(placement.pilots.iter().flat_map(|pilot| pilot.to_le_bytes()));

    fs::write(out.join(format!("{name}.bin")), &file).expect("OUT_DIR can be written");
    let layout = format!(
        "Layout {{ slots: {}, twos: {}, buckets: {} }}\n",
        placement.slots.len(),
        twos.len(),
        placement.pilots.len()
    );
    fs::write(out.join(format!("{name}.rs")), layout).expect("OUT_DIR can be written");
}

/// Which quarters of the ids a token's partners are in: those on its right (low four bits), and those on its left.
fn hints(derivations: &[Option<(u32, u32)>]) -> Vec<u32> {
    let mut hints = vec![0; derivations.len()];
    for (left, right) in derivations.iter().flatten() {
        hints[*left as usize] |= 1 << (right & 3);
        hints[*right as usize] |= 16 << (left & 3);
    }
    hints
}

/// For two ids of bytes, 1 + the index of what they merge to among the tokens of two bytes; or 0.
fn grid(twos: &[usize], derivations: &[Option<(u32, u32)>]) -> Vec<u16> {
    let mut grid = vec![0; merges::BYTES * merges::BYTES];
    for (index, two) in (1..).zip(twos) {
        let (left, right) = derivations[*two].expect("two bytes come of a merge");
        grid[left as usize * merges::BYTES + right as usize] = index;
    }
    grid
}

/// For the last byte of a character beyond ASCII and the first of the next: the least rank of a merge between them that
/// takes only a part of the next, and of one that takes only a part of the last; in fours, rounded down; 65,535 where
/// there is none.
fn crossings(tokens: &[Vec<u8>], derivations: &[Option<(u32, u32)>]) -> [Vec<u16>; 2] {
    let mut into = vec![u16::MAX; 64 * 64];
    let mut out_of = into.clone();
    for (id, derivation) in derivations.iter().enumerate() {
        let Some((left, right)) = derivation else { continue };
        let (left, right) = (&tokens[*left as usize], &tokens[*right as usize]);
        let (last, first) = (left[left.len() - 1], right[0]);
        if !(0x80..0xc0).contains(&last) || first < 0xc0 {
            continue;
        }
        let cell = usize::from(last & 63) << 6 | usize::from(first & 63);
        let fours = (id / 4) as u16;
        if right.len() < length(first) {
            into[cell] = into[cell].min(fours);
        }
        if left.iter().all(|byte| byte & 0xc0 == 0x80) {
            out_of[cell] = out_of[cell].min(fours);
        }
    }
    [into, out_of]
}

/// Bytes of a character, by its first.
fn length(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    }
}
