//! How much work a pattern can make per byte of text.
//!
//! The engine is linear in the text, but times the pattern's size once its bounded repeats are written out:
//! `x{0,9000}y` looks at 9,000 positions for each byte. The invariant: what is answered here grows at least as that
//! size does.

/// Positions of a pattern that one byte of text may be compared to, saturating.
///
/// All positions with the repeats written out; but a pattern that begins at the text's beginning and has one bounded
/// repeat, of a single character, is at one or two of them at a time: there the pattern's length stands.
pub(super) fn weight(pattern: &str) -> u64 {
    let groups = Groups::of(pattern);
    if pattern.starts_with('^')
        && groups.repeats <= 1
        && groups.repeated <= 1
        && !pattern.contains(['|', '*', '+'])
    {
        return u64::try_from(pattern.len()).unwrap_or(u64::MAX);
    }
    groups.weight()
}
/// A group while it is read.
#[derive(Default)]
struct Group {
    before: u64,
    /// The last thing in it: what a repeat multiplies.
    last: u64,
}

impl Group {
    fn add(&mut self, weight: u64) {
        self.before = self.weight();
        self.last = weight;
    }

    fn weight(&self) -> u64 {
        self.before.saturating_add(self.last)
    }
}

#[derive(Default)]
struct Groups {
    outer: Vec<Group>,
    inner: Group,
    /// Bounded repeats.
    repeats: usize,
    /// The heaviest thing that is repeated.
    repeated: u64,
}

impl Groups {
    fn of(pattern: &str) -> Self {
        let mut groups = Self::default();
        let mut chars = pattern.chars();
        while let Some(first) = chars.next() {
            match first {
                '(' => groups.open(),
                ')' => groups.close(),
                '{' => groups.repeat(most_times(chars.as_str())),
                '*' | '+' | '?' => {}
                _ => groups.inner.add(1),
            }
            if first == '\\' {
                chars.next();
            }
        }
        groups
    }

    fn repeat(&mut self, times: u64) {
        self.repeats = self.repeats.saturating_add(1);
        self.repeated = self.repeated.max(self.inner.last);
        self.inner.last = self.inner.last.saturating_mul(times.max(1));
    }

    fn open(&mut self) {
        self.outer.push(std::mem::take(&mut self.inner));
    }

    fn close(&mut self) {
        let outer = self.outer.pop().unwrap_or_default();
        let inner = std::mem::replace(&mut self.inner, outer);
        self.inner.add(inner.weight().max(1));
    }

    fn weight(&self) -> u64 {
        self.outer.iter().fold(self.inner.weight(), |total, group| {
            total.saturating_add(group.weight())
        })
    }
}

/// The larger number of `n}`, `n,}` or `n,m}`; 1 when that isn't what follows.
fn most_times(rest: &str) -> u64 {
    let inside = rest.split_once('}').map_or("", |(inside, _)| inside);
    let numbers = inside.split(',').map(|number| number.trim().parse().unwrap_or(1));
    numbers.max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn a_repeat_multiplies_what_stands_before_it() {
        let table = [
            ("", 0),
            ("abc", 3),
            (r"\d{5}", 5),
            ("x{0,9000}y", 9001),
            ("(ab{3}){10,}", 40),
            ("((a{100}){100}){100}", 1_000_000),
            ("(a|b)+", 3),
            ("a{999999999999999999999}", 0),
            ("^[a-z ]{1,2000}$", 16),
            ("^[a-z]{1,2000}.{0,9}$", 2009),
            ("^(a{100}){100}$", 10_000),
            ("(((", 0),
            (")))", 1),
            ("{5}", 0),
        ];
        for (pattern, least) in table {
            let found = weight(pattern);
            assert!(found >= least.min(1_000_000), "{pattern}: {found}");
            assert!(found <= least.saturating_mul(2).max(40), "{pattern}: {found}");
        }
    }
}
