//! Reading one string, however it is quoted and escaped, and writing it as JSON does.

use super::Mend;
use super::cursor::{Cursor, Stop};
use super::quotes::{Marks, Quoting, Role, closers, may_follow};
use crate::json;

/// Python's mark around strings of several lines.
const TRIPLE: &str = "\"\"\"";

/// What the backslashes of one string have been taken for.
#[derive(Clone, Copy, Debug, Default)]
struct Slashes {
    /// Escapes of letters that JSON has: `\n`, `\u0041`.
    letters: bool,
    /// Before letters that have no escape: `\d`, `C:\Users`.
    literal: bool,
    /// Before marks that need none: Markdown's `\_`, JavaScript's `\'`.
    needless: bool,
}

impl Slashes {
    /// In one string a backslash means one thing.
    fn settle(self) -> Result<(), Stop> {
        if self.literal && (self.letters || self.needless) {
            return Err(Stop::Broken);
        }
        Ok(())
    }
}

/// Reads the string that `cursor` stands at, and appends it to `out` as JSON.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
    quoting: Quoting,
    role: Role,
) -> Result<(), Stop> {
    let mut string = Text {
        cursor,
        out,
        slashes: Slashes::default(),
    };
    string.out.push(b'"');
    if role != Role::Name && string.cursor.eat(TRIPLE) {
        string.triple(role)?;
    } else {
        string.quoted(quoting, role)?;
    }
    string.slashes.settle()?;
    string.out.push(b'"');
    Ok(())
}

struct Text<'r, 't> {
    cursor: &'r mut Cursor<'t>,
    out: &'r mut Vec<u8>,
    slashes: Slashes,
}

impl Text<'_, '_> {
    fn quoted(&mut self, quoting: Quoting, role: Role) -> Result<(), Stop> {
        let open = self.cursor.next()?;
        let mut marks = Marks::new(open, closers(open).ok_or(Stop::Broken)?, role);
        if open != '"' {
            self.cursor.mends.add(Mend::Quotes);
        }
        loop {
            let c = self.cursor.next()?;
            if marks.is_closer(c) {
                if quoting == Quoting::Plain || self.closes(&marks, role)? {
                    return marks.settle();
                }
                marks.take(c, self.cursor.rest())?;
                self.cursor.mends.add(Mend::InnerQuotes);
                self.plain(c);
            } else if marks.is_opener(c) {
                return Err(Stop::Broken);
            } else {
                marks.pass(c);
                self.character(c, open)?;
            }
        }
    }

    /// Where the text ends, the last mark may as well be one inside.
    fn closes(&self, marks: &Marks, role: Role) -> Result<bool, Stop> {
        let closes = may_follow(self.cursor, role);
        if closes && marks.has_inner() && self.cursor.rest().trim_start().is_empty() {
            return Err(Stop::Broken);
        }
        Ok(closes)
    }

    fn triple(&mut self, role: Role) -> Result<(), Stop> {
        self.cursor.mends.add(Mend::Quotes);
        // Otherwise it may be a string of one quote that isn't escaped.
        if self.cursor.rest().trim_start().starts_with([',', '}', ']', ':']) {
            return Err(Stop::Broken);
        }
        while !self.cursor.eat(TRIPLE) {
            match self.cursor.next()? {
                '"' => return Err(Stop::Broken),
                c => self.character(c, '"')?,
            }
        }
        if may_follow(self.cursor, role) {
            Ok(())
        } else {
            Err(Stop::Broken)
        }
    }

    fn character(&mut self, c: char, open: char) -> Result<(), Stop> {
        match c {
            '\\' => self.escape(),
            '$' if open == '`' && self.cursor.peek() == Some('{') => Err(Stop::Broken),
            _ => {
                self.plain(c);
                Ok(())
            }
        }
    }

    fn plain(&mut self, c: char) {
        if c.is_ascii_control() && c != '\u{7f}' {
            self.cursor.mends.add(Mend::Control);
        }
        match c {
            '"' => self.out.extend(*b"\\\""),
            '\n' => self.out.extend(*b"\\n"),
            '\r' => self.out.extend(*b"\\r"),
            '\t' => self.out.extend(*b"\\t"),
            '\0'..=' ' if c != ' ' => self.out.extend(format!("\\u{:04x}", u32::from(c)).bytes()),
            _ => self.out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }

    fn escape(&mut self) -> Result<(), Stop> {
        let c = self.cursor.next()?;
        match c {
            '"' | '\\' | '/' => self.known(c),
            'b' | 'f' | 'n' | 'r' | 't' => {
                self.slashes.letters = true;
                self.known(c);
            }
            'u' => self.unicode()?,
            '\'' | '`' | '_' => self.needless(c),
            // These are escapes elsewhere: `\x41`, `\v`, `\N{…}`, `\e[0m`.
            'x' | 'v' | 'N' | 'e' => return Err(Stop::Broken),
            'a'..='z' | 'A'..='Z' => {
                self.slashes.literal = true;
                self.cursor.mends.add(Mend::Escape);
                self.known('\\');
                self.plain(c);
            }
            _ => return Err(Stop::Broken),
        }
        Ok(())
    }

    fn known(&mut self, c: char) {
        self.out.push(b'\\');
        self.out.extend(c.encode_utf8(&mut [0; 4]).bytes());
    }

    fn needless(&mut self, c: char) {
        self.slashes.needless = true;
        self.cursor.mends.add(Mend::Escape);
        self.plain(c);
    }

    /// Four digits, and not half of a pair.
    fn unicode(&mut self) -> Result<(), Stop> {
        self.slashes.letters = true;
        let half = |text: &str| match text.get(..4) {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(digits.to_owned()),
            Some(_) | None => Err(Stop::Broken),
        };
        let mut digits = half(self.cursor.rest())?;
        let low = self
            .cursor
            .rest()
            .get(4..)
            .and_then(|rest| rest.strip_prefix("\\u"));
        if digits.to_ascii_lowercase().starts_with(['d', 'D']) && low.is_some() {
            digits = format!("{digits}\\u{}", half(low.unwrap_or_default())?);
        }
        let raw = format!("\\u{digits}");
        if json::chars(raw.as_bytes()).any(|c| c == char::REPLACEMENT_CHARACTER) {
            return Err(Stop::Broken);
        }
        self.cursor.at += digits.len();
        self.out.extend(raw.bytes());
        Ok(())
    }
}
