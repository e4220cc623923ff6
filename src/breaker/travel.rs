//! A pass as text, for the way from who asked to who will know how the call ended: another VM of the same process.
//!
//! Its invariant: what isn't such a text is no pass; the breakers of another provider ignore it, as they ignore any
//! pass of another record.

use super::Pass;
use super::section::Stake;

impl Pass {
    /// The pass as text. What changed by asking was told already and doesn't travel.
    #[must_use]
    pub fn pack(self) -> String {
        let mut text = format!("{:x} {:x}", self.record, self.model);
        if self.on_credit {
            text.push_str(CREDIT);
        }
        if let Some((provider, model)) = self.stakes {
            for stake in [provider, model] {
                let lease = stake
                    .lease
                    .map_or_else(|| "-".to_owned(), |lease| format!("{lease:x}"));
                text.push_str(&format!(" {:x} {lease}", stake.generation));
            }
        }
        text
    }

    /// The pass that [`Pass::pack`] made this text of.
    pub fn unpack(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let record = number(parts.next()?)?;
        let model = usize::try_from(number(parts.next()?)?).ok()?;
        let mut first = parts.next();
        let on_credit = first == CREDIT.get(1..);
        if on_credit {
            first = parts.next();
        }
        let stakes = match first {
            None => None,
            Some(first) => Some((stake(first, parts.next()?)?, stake(parts.next()?, parts.next()?)?)),
        };
        Some(Self {
            record,
            model,
            stakes,
            on_credit,
            changes: [None; 2],
        })
    }
}

/// What a pass on credit has where the others have their stakes.
const CREDIT: &str = " credit";

fn stake(generation: &str, lease: &str) -> Option<Stake> {
    let lease = match lease {
        "-" => None,
        lease => Some(number(lease)?),
    };
    Some(Stake {
        generation: u32::try_from(number(generation)?).ok()?,
        lease,
    })
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::super::section::Stake;
    use super::Pass;

    fn pass(stakes: Option<(Stake, Stake)>) -> Pass {
        Pass {
            record: u64::MAX,
            model: 3,
            stakes,
            on_credit: false,
            changes: [None; 2],
        }
    }

    #[test]
    fn a_pass_on_credit_is_one_after_its_way() {
        let lent = Pass {
            on_credit: true,
            ..pass(None)
        };
        assert_eq!(Pass::unpack(&lent.pack()).map(|pass| pass.on_credit), Some(true));
    }

    #[test]
    fn a_pass_is_the_same_after_its_way() {
        let stake = |generation, lease| Stake { generation, lease };
        let both = || Some((stake(0, None), stake(u32::MAX, Some(u64::MAX))));
        assert_eq!(Pass::unpack(&pass(None).pack()), Some(pass(None)));
        assert_eq!(Pass::unpack(&pass(both()).pack()), Some(pass(both())));
    }

    #[test]
    fn what_is_no_pass_is_none() {
        for text in [
            "",
            "1",
            "x 1",
            "1 2 3",
            "1 2 3 4",
            "1 2 3 4 5",
            "1 2 100000000 - 1 -",
            "1  2",
        ] {
            assert_eq!(Pass::unpack(text), None, "{text}");
        }
    }
}
