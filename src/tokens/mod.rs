//! How many tokens a prompt has.
