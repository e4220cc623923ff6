//! A header map as the host hands it over: one buffer, read in place.
//!
//! Names are lower case (the host's promise); values are bytes and may be anything.

use core::ops::Range;

/// Headers of a request or a response, pseudo-headers included.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    bytes: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Headers {
    /// Reads the proxy-wasm serialization: count, then pairs of lengths, then NUL-terminated names and values
    /// (little-endian 32-bit). A damaged map yields the fields before the damage.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Self {
        let count = length(&bytes, 0).unwrap_or(0);
        let mut at = count.saturating_mul(8).saturating_add(4);
        let mut fields = Vec::with_capacity(count.min(bytes.len() / 8));
        for n in 0..count {
            let Some((name, value)) = lengths(&bytes, n) else {
                break;
            };
            let names = at..at.saturating_add(name);
            let values = names.end.saturating_add(1)..names.end.saturating_add(1).saturating_add(value);
            if values.end > bytes.len() {
                break;
            }
            at = values.end.saturating_add(1);
            fields.push((names, values));
        }
        Self { bytes, fields }
    }

    /// The first value of a lower-case name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(found, _)| *found == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    /// The map with some fields set or removed, in the host's serialization. Set fields replace all of their name.
    #[must_use]
    pub fn edited(&self, set: &[(&[u8], &[u8])], removed: &[&[u8]]) -> Vec<u8> {
        let changed = set.iter().map(|(name, _)| *name).chain(removed.iter().copied());
        let marks = changed.fold(0, |marks, name| marks | mark(name));
        let same = |name: &[u8]| removed.contains(&name) || set.iter().any(|(other, _)| *other == name);
        let kept = |name: &[u8]| marks & mark(name) == 0 || !same(name);
        let fields: Vec<_> = self
            .iter()
            .filter(|(name, _)| kept(name))
            .chain(set.iter().copied())
            .collect();
        serialize(&fields)
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in fields {
            let name = headers.append(name.as_ref());
            let value = headers.append(value.as_ref());
            headers.fields.push((name, value));
        }
        headers
    }
}

impl Headers {
    fn append(&mut self, part: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(part);
        start..self.bytes.len()
    }
}

/// The proxy-wasm serialization of a header map; [`Headers::parse`] reads it back.
#[must_use]
pub fn serialize(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let size: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 10)
        .sum();
    let prefix = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(size + 4);
    bytes.extend_from_slice(&prefix(fields.len()));
    for (name, value) in fields {
        bytes.extend_from_slice(&prefix(name.len()));
        bytes.extend_from_slice(&prefix(value.len()));
    }
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

/// One bit of 64: most names that differ differ in it, so that few have to be compared.
pub(crate) fn mark(name: &[u8]) -> u64 {
    let last = name.last().copied().unwrap_or_default();
    1_u64.rotate_left(
        u32::from(last).wrapping_add(u32::try_from(name.len()).unwrap_or(u32::MAX).wrapping_mul(7)),
    )
}

fn lengths(bytes: &[u8], n: usize) -> Option<(usize, usize)> {
    let at = n.checked_mul(8)?.checked_add(4)?;
    Some((length(bytes, at)?, length(bytes, at + 4)?))
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(raw.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::Headers;

    fn serialized() -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(b":path\0/\0a\0\0");
        bytes
    }

    #[test]
    fn the_hosts_serialization_is_read_in_place() {
        let headers = Headers::parse(serialized());
        assert_eq!(headers.first(":path"), Some(&b"/"[..]));
        assert_eq!(headers.first("a"), Some(&b""[..]));
        assert_eq!(headers.first("b"), None);
    }

    #[test]
    fn an_edited_map_reads_back_with_every_name_once() {
        let headers: Headers = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")]
            .into_iter()
            .collect();
        let edited = Headers::parse(headers.edited(&[(b"a", b"5"), (b"d", b"")], &[b"c"]));
        let fields: Vec<_> = edited.iter().collect();
        assert_eq!(fields, [(&b"b"[..], &b"2"[..]), (b"a", b"5"), (b"d", b"")]);
    }

    #[test]
    fn a_map_cut_anywhere_never_panics() {
        let whole = serialized();
        for end in 0..whole.len() {
            let _ = Headers::parse(whole[..end].to_vec()).iter().count();
        }
        assert_eq!(Headers::parse(vec![0xff; 64]).iter().count(), 0);
    }
}
