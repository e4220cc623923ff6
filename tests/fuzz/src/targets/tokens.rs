//! Counting tokens: by weights, as a stream brings them, and exactly.

use std::cell::RefCell;

use spillway::policy::Tokenizer;
use spillway::tokens::exact::{Count, Counter, Encoding};
use spillway::tokens::{self, Running};

use crate::input::Input;

thread_local! {
    static COUNTER: RefCell<Counter> = RefCell::new(Counter::new());
}

/// Of any text: the estimate and the exact count are within the bounds that bytes alone give; the exact count is the same
/// with a memo full of other texts, stops at its limit and nowhere else, and adds up over texts; a running count doesn't
/// depend on the pieces that the text comes in.
pub fn tokens_of(data: &[u8]) {
    let mut input = Input::new(data);
    let (place, tokenizer) = (
        usize::from(input.short()),
        input.pick(&[Tokenizer::O200k, Tokenizer::Cl100k, Tokenizer::Estimate]),
    );
    let raw = input.rest();
    let count = tokens::text_tokens(&[raw], tokenizer);
    let (least, most) = tokens::bounds(raw.len());
    assert!((least..=most).contains(&count), "{count} of {} bytes", raw.len());
    running(raw, place, tokenizer);
    COUNTER.with_borrow_mut(|counter| exact(counter, raw, place));
}

fn running(raw: &[u8], place: usize, tokenizer: Tokenizer) {
    let Ok(text) = core::str::from_utf8(raw) else {
        return;
    };
    // What an escape is made of isn't cut.
    if text.contains('\\') {
        return;
    }
    let (head, tail) = text.split_at(text.floor_char_boundary(place.min(text.len())));
    let (mut whole, mut parts) = (Running::of(tokenizer), Running::of(tokenizer));
    whole.push(raw);
    parts.push(head.as_bytes());
    parts.push(tail.as_bytes());
    assert_eq!(whole.tokens(), parts.tokens(), "cut after {head:?}");
}

fn exact(counter: &mut Counter, raw: &[u8], place: usize) {
    let encoding = Encoding::O200k;
    let mut count = |texts: &[&[u8]], limit| counter.count(texts, encoding, limit);
    let Count::Exactly(tokens) = count(&[raw], u64::MAX) else {
        panic!("more tokens than can be");
    };
    let (least, most) = tokens::bounds(raw.len());
    assert!(
        (least / 6..=most).contains(&tokens),
        "{tokens} of {} bytes",
        raw.len()
    );
    assert_eq!(count(&[raw], tokens), Count::Exactly(tokens));
    if let Some(less) = tokens.checked_sub(1) {
        assert_eq!(count(&[raw], less), Count::Over);
    }
    let (head, tail) = raw.split_at(place.min(raw.len()));
    let sum = [head, tail].map(|part| count(&[part], u64::MAX));
    if let [Count::Exactly(head_tokens), Count::Exactly(tail_tokens)] = sum {
        assert_eq!(
            count(&[head, tail], u64::MAX),
            Count::Exactly(head_tokens + tail_tokens)
        );
    }
}
