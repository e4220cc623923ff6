//! Inputs out of seeds by chance, the same ones for the same seed: a little fuzzing where there is no fuzzer.

/// What is put in: what parsers look for.
const WORDS: [&[u8]; 26] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\r\r",
    b"\0",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"-0",
    b"1e9",
    b"18446744073709551615",
    b"\xef\xbb\xbf",
    b"\xff",
    b"data: ",
    b"event: ",
    b"{\"a\":",
    b"[DONE]",
];

/// Chance by xorshift64*.
pub struct Dice(u64);

impl Dice {
    /// Another row of numbers for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let roll = usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap_or(0);
        roll % bound.max(1)
    }

    /// One of these inputs with a few changes.
    #[must_use]
    pub fn mutated(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(5) {
            self.change(&mut input, inputs);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(12)).min(input.len());
        match self.below(6) {
            0 => input
                .splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())
                .for_each(drop),
            1 if at < end => input.drain(at..end).for_each(drop),
            2 if at < end => input[at] = u8::try_from(self.below(256)).unwrap_or(0),
            3 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part).for_each(drop);
            }
            4 => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(60)).min(other.len());
                input
                    .splice(at..end.max(at), other[from..to].iter().copied())
                    .for_each(drop);
            }
            _ if !input.is_empty() => {
                // Choices stand at the end.
                let at = input.len() - 1 - self.below(input.len().min(12));
                input[at] = u8::try_from(self.below(256)).unwrap_or(0);
            }
            _ => {}
        }
    }
}
