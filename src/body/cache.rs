//! Schemas that came with requests, compiled once and kept while they are used.
//!
//! Compiling takes milliseconds and most applications send the same few schemas, so both what compiles and what
//! doesn't is remembered, by its whole source: a foreign schema would judge another's answers, and comparing bytes costs
//! less than any hash that nobody can make collide. The invariant: never more than [`Schemas::MAX_ENTRIES`] and
//! [`Schemas::MAX_BYTES`] of source are kept.

use std::rc::Rc;

use super::schema::Schema;

/// Compiled schemas, the ones used last.
#[derive(Debug, Default)]
pub struct Schemas {
    /// The one used last stands at the end.
    entries: Vec<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    source: Box<[u8]>,
    /// None: it doesn't compile.
    schema: Option<Rc<Schema>>,
}

impl Schemas {
    /// Schemas kept at a time.
    pub const MAX_ENTRIES: usize = 64;
    /// Bytes of their sources. Compiled they take some fifty times as much, for 20 MB at worst.
    pub const MAX_BYTES: usize = 384 * 1024;

    /// The schema of this JSON text, compiled now or before; none when it isn't one that can be used.
    ///
    /// A client's schema is the client's own: what can't be used judges nothing.
    pub fn schema(&mut self, source: &[u8]) -> Option<Rc<Schema>> {
        let known = self.entries.iter().rposition(|entry| *entry.source == *source);
        let entry = match known {
            Some(at) => self.entries.remove(at),
            None => self.compiled(source),
        };
        let schema = entry.schema.clone();
        self.entries.push(entry);
        schema
    }

    /// Whether it is known already, so that asking for it costs next to nothing.
    #[must_use]
    pub fn knows(&self, source: &[u8]) -> bool {
        self.entries.iter().any(|entry| *entry.source == *source)
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none are kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn compiled(&mut self, source: &[u8]) -> Entry {
        let tree = serde_json::from_slice(source).ok();
        let schema = tree.and_then(|tree| Schema::compile(&tree).ok()).map(Rc::new);
        self.bytes = self.bytes.saturating_add(source.len());
        self.make_room();
        Entry {
            source: source.into(),
            schema,
        }
    }

    /// For one more, whose bytes are counted already.
    fn make_room(&mut self) {
        while !self.entries.is_empty()
            && (self.entries.len() >= Self::MAX_ENTRIES || self.bytes > Self::MAX_BYTES)
        {
            let oldest = self.entries.remove(0);
            self.bytes = self.bytes.saturating_sub(oldest.source.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::Schemas;
    use crate::body::verdict::Verdict;

    #[test]
    fn a_schema_is_compiled_once() {
        let mut schemas = Schemas::default();
        let first = schemas.schema(br#"{"type": "integer"}"#).unwrap();
        let second = schemas.schema(br#"{"type": "integer"}"#).unwrap();
        assert!(Rc::ptr_eq(&first, &second));
        assert_eq!(first.check("1"), Verdict::Valid);
        assert!(schemas.knows(br#"{"type": "integer"}"#) && !schemas.knows(b"{}"));
        assert_eq!(schemas.len(), 1);
    }

    #[test]
    fn what_does_not_compile_is_remembered_too() {
        let mut schemas = Schemas::default();
        for source in ["{\"type\": 7}", "[", "{\"$ref\": \"https://x.test/a\"}", "7"] {
            assert!(schemas.schema(source.as_bytes()).is_none(), "{source}");
        }
        assert_eq!(schemas.len(), 4);
    }

    #[test]
    fn the_ones_used_last_stay_within_the_bounds() {
        let mut schemas = Schemas::default();
        let kept = schemas.schema(b"{}").unwrap();
        for n in 0..200 {
            schemas.schema(format!("{{\"title\": \"{n}\"}}").as_bytes());
            schemas.schema(b"{}");
        }
        assert_eq!(schemas.len(), Schemas::MAX_ENTRIES);
        assert!(Rc::ptr_eq(&kept, &schemas.schema(b"{}").unwrap()));
        for n in 0..8 {
            schemas.schema(format!("{{\"title\": \"{n}{}\"}}", "x".repeat(100_000)).as_bytes());
        }
        assert!(schemas.bytes <= Schemas::MAX_BYTES && schemas.len() <= 4);
    }
}
