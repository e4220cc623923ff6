//! `spillway`, the native tool.

fn main() {}
