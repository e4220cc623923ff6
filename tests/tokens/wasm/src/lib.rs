//! The exact counter with the least that lets a host call it: a place for the text, and a function.

use spillway::tokens::exact::{Count, Counter, Encoding};
use std::cell::RefCell;

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State { text: Vec::new(), counter: None }) };
}

struct State {
    text: Vec<u8>,
    counter: Option<Counter>,
}

/// Makes room for a text of so many bytes; answers its address.
#[unsafe(no_mangle)]
pub extern "C" fn room(bytes: u32) -> *mut u8 {
    STATE.with_borrow_mut(|state| {
        state.text.resize(usize::try_from(bytes).unwrap_or(0), 0);
        state.text.as_mut_ptr()
    })
}

/// The tokens of the text in `o200k_base` (0) or `cl100k_base` (any other number).
#[unsafe(no_mangle)]
pub extern "C" fn count(encoding: u32) -> u64 {
    let encoding = match encoding {
        0 => Encoding::O200k,
        _ => Encoding::Cl100k,
    };
    STATE.with_borrow_mut(|state| {
        let counter = state.counter.get_or_insert_with(Counter::new);
        match counter.count(&[&state.text], encoding, u64::MAX) {
            Count::Exactly(tokens) => tokens,
            Count::Over => u64::MAX,
        }
    })
}
