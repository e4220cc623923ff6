//! Perfect hashing by displacement (Belazzougui, Botelho and Dietzfelbinger, "Hash, displace, and compress", 2009): pairs
//! fall into small buckets, and each bucket gets the first pilot that sends all its pairs to free slots. The fullest
//! buckets choose first, while there is room.

#[path = "../src/hash.rs"]
mod hash;

/// Where each pair is.
pub(crate) struct Placement {
    /// Index into the pairs, for each slot.
    pub(crate) slots: Vec<Option<usize>>,
    /// For each bucket.
    pub(crate) pilots: Vec<u16>,
}

/// The byte of a pair that is compared before its slot is read.
pub(crate) fn tag(pair: (u32, u32)) -> u8 {
    hash::name(word(pair)).0
}

/// The rest of it, which its slot holds.
pub(crate) fn rest(pair: (u32, u32)) -> u32 {
    hash::name(word(pair)).1
}

fn scramble(pair: (u32, u32)) -> u64 {
    hash::scramble(word(pair))
}

fn word((left, right): (u32, u32)) -> u64 {
    u64::from(left) << 18 | u64::from(right)
}

/// Places all `pairs`.
pub(crate) fn place(pairs: &[(u32, u32)]) -> Placement {
    let scrambled: Vec<u64> = pairs.iter().copied().map(scramble).collect();
    let mut placement = Placement {
        slots: vec![None; hash::slots_for(pairs.len())],
        pilots: vec![0; hash::buckets_for(pairs.len())],
    };
    let mut buckets = vec![Vec::new(); placement.pilots.len()];
    for (index, word) in scrambled.iter().enumerate() {
        buckets[hash::bucket(*word, placement.pilots.len() as u32)].push(index);
    }
    let mut order: Vec<usize> = (0..buckets.len()).collect();
    order.sort_by_key(|bucket| std::cmp::Reverse(buckets[*bucket].len()));
    for bucket in order {
        placement.pilots[bucket] = settle(&buckets[bucket], &scrambled, &mut placement.slots);
    }
    placement
}

/// Puts a bucket's pairs where the first pilot that can sends them.
fn settle(members: &[usize], scrambled: &[u64], slots: &mut [Option<usize>]) -> u16 {
    let bound = slots.len() as u32;
    let mut taken = Vec::with_capacity(members.len());
    let fits = |pilot: &u16| {
        taken.clear();
        members.iter().all(|member| {
            let slot = hash::slot(scrambled[*member], *pilot, bound);
            let free = slots[slot].is_none() && !taken.contains(&slot);
            taken.push(slot);
            free
        })
    };
    let pilot = (0..=u16::MAX).find(fits).expect("some pilot of 65,536 fits");
    for member in members {
        slots[hash::slot(scrambled[*member], pilot, bound)] = Some(*member);
    }
    pilot
}
