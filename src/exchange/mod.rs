//! One exchange as a state machine.
