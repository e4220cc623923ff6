//! Circuit breakers: a pure state machine and its record in the store.
