//! Numbers and strings drawn at random, the same each time.

/// A generator (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeds differ in what they yield; zero is as good as another.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(word).unwrap_or(0) % bound.max(1)
    }

    /// One of `all`, which isn't empty.
    pub fn one<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// A character of `first..=last` that isn't a surrogate.
    pub fn character(&mut self, first: u32, last: u32) -> char {
        let span = usize::try_from(last - first).unwrap_or(0) + 1;
        let offset = u32::try_from(self.below(span)).unwrap_or(0);
        char::from_u32(first + offset).unwrap_or('\u{fffd}')
    }

    /// `length` characters of `alphabet`.
    pub fn string(&mut self, alphabet: &[char], length: usize) -> String {
        (0..length).map(|_| *self.one(alphabet)).collect()
    }
}

/// Alphabets whose characters meet where the patterns' classes do: cases, marks, contractions, white space, digits,
/// scripts whose tokens begin and end inside characters, control characters.
pub const ALPHABETS: [&str; 15] = [
    "aAbB '\u{301}字sStTrReEvVlLdDmMſ’",
    "'sSſtTmMdDrReEvVlL a",
    "  \t\n\r\u{3000}x",
    "日本語 漢字ABCaé!?。",
    "0123٣² 9½",
    "-=_/\\*#\n\r /",
    "กขคงเแ่้์",
    "العربيةَُِّ",
    "कखगघािीु् ",
    "😀👩\u{200d}👧\u{fe0f}🏽a ",
    "\u{0}\u{1}\u{7f}\u{85}\u{a0}é\u{1c5}ǅʰªºß",
    "가나다라마바사 아자차카",
    "京赛车彩票开奖的是不了在有个人这",
    "тоабвгдеж ТОАБ",
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ  etaoin",
];

/// A string of up to three of [`ALPHABETS`], sometimes with characters of anywhere; mostly short.
#[must_use]
pub fn mixed_string(random: &mut Random) -> String {
    let mut alphabet: Vec<char> = (0..=random.below(3))
        .flat_map(|_| random.one(&ALPHABETS).chars())
        .collect();
    if random.below(5) == 0 {
        alphabet.extend((0..10).map(|_| random.character(0x80, 0x10_ffff)));
        alphabet.extend((0..10).map(|_| random.character(0x80, 0x2fff)));
    }
    let length = match random.below(100) {
        0 => random.below(2000),
        _ => 1 + random.below(40),
    };
    random.string(&alphabet, length)
}
