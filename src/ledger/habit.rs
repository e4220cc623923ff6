//! What a caller and a model lately did: how long the answers were, and how far off the prompts' estimates.
//!
//! Both follow what settles, a part of the way each time. The correction of estimates keeps account of its own use: the
//! mean error with it and without it. Texts of one kind are corrected well (a language or a tokenizer that the estimate
//! misjudges), mixed ones aren't; so it is only applied while it halves nothing but the error.
//!
//! Invariant: a correction is never more than a factor of two, whatever was taught.

/// One in this many parts.
const ONE: u64 = 1 << 12;
/// The bounds of a correction.
const BOUNDS: (u64, u64) = (ONE / 2, ONE * 2);
/// Fewer lessons than this correct nothing.
const ENOUGH: u16 = 4;
/// Errors are kept in [`ONE`] parts, in 24 bits.
const LARGEST_ERROR: u64 = (1 << 24) - 1;
/// Texts of fewer tokens teach nothing: what frames them outweighs them.
const LEAST_TEXT: u64 = 32;

/// What one exchange teaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lesson {
    /// Tokens of output of an answer that ended by itself.
    pub output: Option<u64>,
    /// Tokens of the prompt's texts: as estimated without correction, and as they were.
    pub text: Option<(u64, u64)>,
}

/// What was learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Habit {
    output: u32,
    /// Truth over estimate, in [`ONE`] parts.
    ratio: u16,
    /// Lessons on texts, as far as they count.
    lessons: u16,
    /// Mean error of the estimate, and of the corrected one.
    plain: u64,
    corrected: u64,
}

impl Habit {
    /// Tokens of output lately; none when no answer taught it.
    pub(super) fn output(&self) -> Option<u64> {
        (self.output > 0).then_some(u64::from(self.output))
    }

    /// An estimate of texts, corrected if that has been of use.
    pub(super) fn correct(&self, text: u64) -> u64 {
        if self.helps() { self.scaled(text) } else { text }
    }

    /// Follows a lesson.
    pub(super) fn learn(mut self, lesson: Lesson) -> Self {
        if let Some(output) = lesson.output {
            self.output = narrow(toward(u64::from(self.output), output, 4, self.output == 0)).max(1);
        }
        if let Some((guess, truth)) = lesson
            .text
            .filter(|(guess, truth)| *guess.min(truth) >= LEAST_TEXT)
        {
            self.learn_text(guess, truth);
        }
        self
    }

    fn learn_text(&mut self, guess: u64, truth: u64) {
        let first = self.lessons == 0;
        if !first {
            let second = self.lessons == 1;
            self.plain = toward(self.plain, error(guess, truth), 8, second);
            self.corrected = toward(self.corrected, error(self.scaled(guess), truth), 8, second);
        }
        let ratio = (truth.saturating_mul(ONE) / guess.max(1)).clamp(BOUNDS.0, BOUNDS.1);
        let ratio = toward(u64::from(self.ratio), ratio, 4, first).clamp(BOUNDS.0, BOUNDS.1);
        self.ratio = u16::try_from(ratio).unwrap_or(u16::MAX);
        self.lessons = self.lessons.saturating_add(1).min(ENOUGH);
    }

    /// Whether the correction takes a tenth off the error at least.
    fn helps(&self) -> bool {
        self.lessons >= ENOUGH && self.corrected.saturating_mul(10) < self.plain.saturating_mul(9)
    }

    fn scaled(&self, text: u64) -> u64 {
        let ratio = if self.lessons == 0 {
            ONE
        } else {
            u64::from(self.ratio)
        };
        text.saturating_mul(ratio) / ONE
    }

    /// The two words of an entry: 64 bits and 48.
    pub(super) fn encode(&self) -> (u64, u64) {
        let first = u64::from(self.output) | u64::from(self.ratio) << 32 | u64::from(self.lessons) << 48;
        (
            first,
            self.plain.min(LARGEST_ERROR) | self.corrected.min(LARGEST_ERROR) << 24,
        )
    }

    /// The habit in an entry's two words.
    pub(super) fn decode(first: u64, second: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = first.to_le_bytes();
        Self {
            output: u32::from_le_bytes([a, b, c, d]),
            ratio: u16::from_le_bytes([e, f]),
            lessons: u16::from_le_bytes([g, h]),
            plain: second & LARGEST_ERROR,
            corrected: (second >> 24) & LARGEST_ERROR,
        }
    }
}

/// How far off, in [`ONE`] parts of the truth.
fn error(guess: u64, truth: u64) -> u64 {
    (guess.abs_diff(truth).saturating_mul(ONE) / truth.max(1)).min(LARGEST_ERROR)
}

/// One part in `parts` of the way from `old` to `new`, rounded up; all of it the first time.
fn toward(old: u64, new: u64, parts: u64, first: bool) -> u64 {
    if first {
        return new;
    }
    let rest = parts.saturating_sub(1);
    old.saturating_mul(rest)
        .saturating_add(new)
        .div_ceil(parts.max(1))
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(guess: u64, truth: u64) -> Lesson {
        Lesson {
            text: Some((guess, truth)),
            output: None,
        }
    }

    fn taught(lessons: impl IntoIterator<Item = (u64, u64)>) -> Habit {
        let habit = Habit::default();
        lessons
            .into_iter()
            .fold(habit, |habit, (guess, truth)| habit.learn(text(guess, truth)))
    }

    #[test]
    fn texts_that_are_always_misjudged_alike_are_corrected() {
        let habit = taught([(1_000, 1_300), (400, 520), (3_000, 3_900), (100, 130)]);
        let corrected = habit.correct(10_000);
        assert!((12_900..=13_010).contains(&corrected), "{corrected}");
    }

    #[test]
    fn three_lessons_are_not_enough() {
        assert_eq!(taught([(1_000, 1_300); 3]).correct(10_000), 10_000);
        assert!(taught([(1_000, 1_300); 4]).correct(10_000) > 12_900);
    }

    #[test]
    fn mixed_texts_are_left_alone() {
        let mixed = (0..40).map(|n| if n % 2 == 0 { (1_000, 1_100) } else { (1_000, 900) });
        assert_eq!(taught(mixed).correct(10_000), 10_000);
    }

    #[test]
    fn a_correction_that_no_longer_helps_is_dropped() {
        let mut habit = taught([(1_000, 1_300); 8]);
        assert!(habit.correct(1_000) > 1_250);
        for _ in 0..12 {
            habit = habit.learn(text(1_000, 1_000));
        }
        let corrected = habit.correct(1_000);
        assert!((980..=1_040).contains(&corrected), "{corrected}");
    }

    #[test]
    fn no_correction_is_more_than_a_factor_of_two() {
        assert_eq!(taught([(100, 250); 50]).correct(10_000), 20_000);
        assert_eq!(taught([(250, 100); 50]).correct(10_000), 5_000);
        let _ = taught([(u64::MAX, u64::MAX), (0, 0), (40, u64::MAX)]).correct(u64::MAX);
    }

    #[test]
    fn short_texts_teach_nothing() {
        assert_eq!(taught([(31, 62); 20]), Habit::default());
    }

    #[test]
    fn output_is_followed_a_quarter_of_the_way() {
        let output = |tokens| Lesson {
            output: Some(tokens),
            text: None,
        };
        let habit = Habit::default().learn(output(1_000));
        assert_eq!(habit.output(), Some(1_000));
        assert_eq!(habit.learn(output(2_000)).output(), Some(1_250));
        assert_eq!(Habit::default().output(), None);
        assert_eq!(Habit::default().learn(output(0)).output(), Some(1));
    }

    #[test]
    fn what_was_learnt_survives_its_record() {
        for lessons in 0..10 {
            let habit = taught((0..lessons).map(|n| (1_000 + n * 77, 900 + n * 91))).learn(Lesson {
                output: Some(u64::MAX),
                text: None,
            });
            let (first, second) = habit.encode();
            assert!(second < 1 << 48);
            assert_eq!(Habit::decode(first, second), habit);
        }
    }
}
