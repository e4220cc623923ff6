//! Names of tool calls.
//!
//! OpenAI refuses ids over 40 bytes, Anthropic all but letters, digits, `_` and `-`. An id that not everybody takes is
//! replaced by its hash, which is the same for the call and for its result.

use core::hash::Hasher;
use std::borrow::Cow;

use siphasher::sip128::{Hasher128, SipHasher13};

/// The longest id that OpenAI takes.
const LONGEST: usize = 40;

/// The id as every provider takes it.
pub(super) fn portable<'a>(id: &'a str) -> Cow<'a, str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=LONGEST).contains(&id.len()) && id.bytes().all(fits) {
        return Cow::Borrowed(id);
    }
    let mut hasher = SipHasher13::new();
    hasher.write(id.as_bytes());
    Cow::Owned(format!("call_{:032x}", hasher.finish128().as_u128()))
}

#[cfg(test)]
mod tests {
    use super::portable;

    #[test]
    fn an_id_that_all_take_stays_and_others_are_replaced_alike() {
        for id in ["call_abc123", "toolu_01D7FLrfh4GYq7yT1ULFeyMV", "a-b"] {
            assert_eq!(portable(id), id);
        }
        for id in ["", "functions.get:0", "é", &"x".repeat(41)] {
            let replaced = portable(id).into_owned();
            assert_eq!(replaced.len(), 37, "{id}");
            assert_eq!(replaced, portable(id));
            assert_eq!(replaced, portable(&replaced));
        }
        assert_ne!(portable("a.b"), portable("a:b"));
    }
}
