//! The record's bytes: a version, then one length-prefixed section each for the provider and for its models.
//!
//! All numbers are LEB128, since nearly all are small: an idle model costs one byte, a busy one about fifty.
//! Its invariant: a record that this version didn't write, or that was cut, reads as empty and never traps.

/// The layout's version, part of a record's name too; a record with another one reads as empty.
pub(super) const VERSION: u8 = 2;

/// Writes numbers.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Room for a busy section.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(128))
    }

    pub(super) fn uint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.0.push(low_bits(value));
    }

    /// An optional number: 0 for none, otherwise one more than it, saturating.
    pub(super) fn option(&mut self, value: Option<u64>) {
        self.uint(value.map_or(0, |value| value.saturating_add(1)));
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

fn low_bits(value: u64) -> u8 {
    let [lowest, ..] = value.to_le_bytes();
    lowest & 0x7f
}

/// Reads what [`Writer`] wrote.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub(super) fn uint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.uint()?).ok()
    }

    pub(super) fn option(&mut self) -> Option<Option<u64>> {
        Some(self.uint()?.checked_sub(1))
    }

    fn section(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.uint()?).ok()?;
        let (section, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(section)
    }
}

fn sections(record: &[u8]) -> Reader<'_> {
    match record.split_first() {
        Some((&VERSION, rest)) => Reader(rest),
        _ => Reader(&[]),
    }
}

/// The bytes of a section; empty when it was never written.
pub(super) fn section(record: &[u8], index: usize) -> &[u8] {
    let mut reader = sections(record);
    for _ in 0..index {
        if reader.section().is_none() {
            return &[];
        }
    }
    reader.section().unwrap_or_default()
}

/// The record with the first section and the one at `index` (1 or more) replaced, all others as they were, up
/// to `count` sections.
pub(super) fn replaced(record: &[u8], count: usize, first: &[u8], (index, other): (usize, &[u8])) -> Vec<u8> {
    let mut reader = sections(record);
    let mut out = Writer(Vec::with_capacity(record.len() + 64));
    out.0.push(VERSION);
    for at in 0..count {
        let old = reader.section().unwrap_or_default();
        let new = match at {
            0 => first,
            at if at == index => other,
            _ => old,
        };
        out.uint(new.len() as u64);
        out.0.extend_from_slice(new);
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_went_in() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut writer = Writer::default();
            writer.uint(value);
            let bytes = writer.into_bytes();
            assert_eq!(Reader(&bytes).uint(), Some(value));
            assert_eq!(Reader(&bytes[..bytes.len() - 1]).uint(), None);
        }
    }

    #[test]
    fn sections_are_replaced_one_by_one() {
        let record = replaced(&[], 4, b"p", (2, b"two"));
        let record = replaced(&record, 4, b"provider", (3, b"three"));
        assert_eq!(section(&record, 0), b"provider");
        assert_eq!(section(&record, 1), b"");
        assert_eq!(section(&record, 2), b"two");
        assert_eq!(section(&record, 3), b"three");
        assert_eq!(section(&record, 4), b"");
    }

    #[test]
    fn a_foreign_or_cut_record_reads_as_empty() {
        let record = replaced(&[], 2, b"p", (1, b"model"));
        assert_eq!(section(&record[..record.len() - 1], 1), b"");
        let mut foreign = record;
        foreign[0] = VERSION + 1;
        assert_eq!(section(&foreign, 1), b"");
        assert_eq!(section(&[VERSION, 0xff, 0xff], 0), b"");
        assert_eq!(
            section(
                &[
                    VERSION, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
                ],
                0
            ),
            b""
        );
    }
}
