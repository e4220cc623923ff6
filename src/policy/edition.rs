//! The editions of the module, which differ in what is built in, and so in the policies that they take.
//!
//! The invariant: a policy that the lean one takes means the same in both. What it hasn't got it refuses at load.

/// An edition of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// `spillway.wasm`: everything.
    Full,
    /// `spillway-lean.wasm`: no schema engine.
    Lean,
}

impl Edition {
    /// What this is built as.
    pub const THIS: Self = if cfg!(feature = "schemas") {
        Self::Full
    } else {
        Self::Lean
    };

    /// Whether it can judge by a JSON Schema.
    #[must_use]
    pub fn has_schemas(self) -> bool {
        // Known when the lean module is built, so that what compiles schemas isn't in it.
        cfg!(feature = "schemas") && matches!(self, Self::Full)
    }
}
