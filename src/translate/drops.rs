//! What was left behind, by name.

/// The names of what can't be carried over, each once.
#[derive(Debug, Default)]
pub(super) struct Drops {
    named: Vec<&'static str>,
}

impl Drops {
    /// Names one.
    pub(super) fn name(&mut self, field: &'static str) {
        if !self.named.contains(&field) {
            self.named.push(field);
        }
    }

    /// Names one unless it says only what the other side does anyway.
    pub(super) fn name_if(&mut self, matters: bool, field: &'static str) {
        if matters {
            self.name(field);
        }
    }

    /// All of them, in the order in which they were met.
    pub(super) fn named(self) -> Vec<&'static str> {
        self.named
    }
}
