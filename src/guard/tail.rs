//! How far a match goes on that may be longer than what a stream holds back.

use super::text::{alnum, base64url};

/// What still belongs to a match, byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing.
    #[default]
    None,
    /// Letters and digits.
    Letters,
    /// The alphabet of base64url.
    Base64url,
    /// The alphabet of base64url, and so many dots.
    Token(u8),
    /// The lines of a private key, until its last line; so many hyphens were seen in a row.
    Lines(u8),
    /// The last line of a private key, until its five hyphens.
    LastLine(u8),
}

impl Tail {
    /// Whether the byte belongs to the match; `self` becomes what may follow it.
    fn takes(&mut self, byte: u8) -> bool {
        let next = match (*self, byte) {
            (Self::None, _) => None,
            (Self::Letters, _) => alnum(byte).then_some(Self::Letters),
            (Self::Base64url, _) => base64url(byte).then_some(Self::Base64url),
            (Self::Token(dots), b'.') => dots.checked_sub(1).map(Self::Token),
            (Self::Token(_), _) => base64url(byte).then_some(*self),
            (Self::Lines(4), b'-') => Some(Self::LastLine(0)),
            (Self::Lines(hyphens), b'-') => Some(Self::Lines(hyphens + 1)),
            (Self::Lines(_), _) => key_line(byte).then_some(Self::Lines(0)),
            (Self::LastLine(4), b'-') => Some(Self::None),
            (Self::LastLine(hyphens), b'-') => Some(Self::LastLine(hyphens + 1)),
            (Self::LastLine(_), _) => {
                (byte.is_ascii_uppercase() || byte == b' ').then_some(Self::LastLine(0))
            }
        };
        *self = next.unwrap_or_default();
        next.is_some()
    }

    /// How many of these bytes belong to the match. Unless it is [`Tail::None`] then, more may.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> usize {
        bytes.iter().take_while(|byte| self.takes(**byte)).count()
    }
}

/// Base64, the headers of RFC 1421, and what line ends become when a key is written into something else.
fn key_line(byte: u8) -> bool {
    alnum(byte)
        || matches!(
            byte,
            b'+' | b'/' | b'=' | b' ' | b'\n' | b'\r' | b'\t' | b'\\' | b':' | b',' | b'.'
        )
}

#[cfg(test)]
mod tests {
    use super::Tail;

    #[test]
    fn a_private_key_goes_on_to_the_end_of_its_last_line() {
        let key = b"\nMII+/=\nab\n-----END EC PRIVATE KEY-----";
        let text = [&key[..], b"-- and more"].concat();
        let mut tail = Tail::Lines(0);
        assert_eq!(tail.follow(&text), key.len());
        assert_eq!(tail, Tail::None);
    }

    #[test]
    fn a_token_takes_its_dots_and_no_more() {
        let mut tail = Tail::Token(1);
        assert_eq!(tail.follow(b"ab.cd. "), 5);
    }
}
