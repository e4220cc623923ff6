//! Following a JSON text that arrives in pieces, in constant memory.
//!
//! The machine knows the whole grammar, so a text that it followed to the end is well formed. It marks the members of
//! the outermost object and leaves it to its user what to keep of them.

use super::find;
use super::lexer::MAX_DEPTH;
use super::number::Number;

/// What the machine has just passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing of note: all bytes are read.
    Dry,
    /// The opening quote of an outermost member's name.
    NameBegins,
    /// The closing quote of that name. The colon, perhaps white space, and the value follow.
    NameEnds,
    /// The last byte of an outermost member's value.
    ValueEnds,
}

/// Where in a JSON text a reader of pieces stands.
#[derive(Clone, Debug)]
pub struct Machine {
    state: State,
    depth: u32,
    /// One bit for each open container, the innermost lowest: 1 for an object.
    kinds: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    FirstItem,
    FirstName,
    Name,
    Colon,
    After,
    InString(Role, Escape),
    InNumber(Number),
    InLiteral(&'static [u8]),
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Name,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    Begun,
    Hex(u8),
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            state: State::Value,
            depth: 0,
            kinds: 0,
        }
    }
}

impl Machine {
    /// Reads on until something of note, or until `bytes` are used up; answers how many are read.
    pub fn advance(&mut self, bytes: &[u8]) -> (usize, Mark) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += self.plain_run(rest);
            let Some(&byte) = bytes.get(at) else { break };
            let (used, mark) = self.byte(byte);
            at += used;
            if mark != Mark::Dry {
                return (at, mark);
            }
        }
        (at, Mark::Dry)
    }

    /// Whether a whole value has been read, with nothing wrong in it or after it; never a number alone, whose end can't be told.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.depth == 0 && self.state == State::After
    }

    /// How many bytes need no look because they are plain characters of a string, or nobody can make sense of them.
    fn plain_run(&self, rest: &[u8]) -> usize {
        match self.state {
            State::InString(_, Escape::No) => find::string_special(rest).unwrap_or(rest.len()),
            State::Broken => rest.len(),
            State::Value
            | State::FirstItem
            | State::FirstName
            | State::Name
            | State::Colon
            | State::After
            | State::InString(_, _)
            | State::InNumber(_)
            | State::InLiteral(_) => 0,
        }
    }

    fn byte(&mut self, byte: u8) -> (usize, Mark) {
        match self.state {
            State::InString(role, escape) => (1, self.in_string(role, escape, byte)),
            State::InNumber(number) => self.in_number(number, byte),
            State::InLiteral(rest) => (1, self.in_literal(rest, byte)),
            State::Value
            | State::FirstItem
            | State::FirstName
            | State::Name
            | State::Colon
            | State::After => (1, self.between(byte)),
            State::Broken => (1, Mark::Dry),
        }
    }

    fn between(&mut self, byte: u8) -> Mark {
        match (self.state, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => Mark::Dry,
            (State::FirstItem, b']') | (State::FirstName, b'}') => self.leave(byte),
            (State::Value | State::FirstItem, _) => self.begin(byte),
            (State::FirstName | State::Name, b'"') => {
                self.state = State::InString(Role::Name, Escape::No);
                self.mark_outermost(Mark::NameBegins)
            }
            (State::Colon, b':') => self.go(State::Value),
            (State::After, b',') if self.depth > 0 => {
                let object = self.kinds & 1 == 1;
                self.go(if object { State::Name } else { State::Value })
            }
            (State::After, b'}' | b']') if self.depth > 0 => self.leave(byte),
            _ => self.go(State::Broken),
        }
    }

    fn begin(&mut self, byte: u8) -> Mark {
        let state = match byte {
            b'{' => return self.enter(1, State::FirstName),
            b'[' => return self.enter(0, State::FirstItem),
            b'"' => State::InString(Role::Value, Escape::No),
            b't' => State::InLiteral(b"rue"),
            b'f' => State::InLiteral(b"alse"),
            b'n' => State::InLiteral(b"ull"),
            _ => Number::start(byte).map_or(State::Broken, State::InNumber),
        };
        self.go(state)
    }

    fn enter(&mut self, kind: u128, inside: State) -> Mark {
        if self.depth >= MAX_DEPTH {
            return self.go(State::Broken);
        }
        self.depth += 1;
        self.kinds = self.kinds << 1 | kind;
        self.go(inside)
    }

    fn leave(&mut self, byte: u8) -> Mark {
        let object = self.kinds & 1 == 1;
        if object != (byte == b'}') {
            return self.go(State::Broken);
        }
        self.depth = self.depth.saturating_sub(1);
        self.kinds >>= 1;
        self.ended()
    }

    fn in_string(&mut self, role: Role, escape: Escape, byte: u8) -> Mark {
        let next = match (escape, byte) {
            (Escape::No, b'"') => return self.string_ended(role),
            (Escape::No, b'\\') => Escape::Begun,
            (Escape::No, 0x20..) => Escape::No,
            (Escape::Begun, b'u') => Escape::Hex(4),
            (Escape::Begun, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Escape::No,
            (Escape::Hex(1), _) if byte.is_ascii_hexdigit() => Escape::No,
            (Escape::Hex(left), _) if byte.is_ascii_hexdigit() => Escape::Hex(left.saturating_sub(1)),
            _ => return self.go(State::Broken),
        };
        self.go(State::InString(role, next))
    }

    fn string_ended(&mut self, role: Role) -> Mark {
        match role {
            Role::Value => self.ended(),
            Role::Name => {
                self.state = State::Colon;
                self.mark_outermost(Mark::NameEnds)
            }
        }
    }

    /// A number ends before the byte that doesn't belong to it: that byte is left to be read again.
    fn in_number(&mut self, number: Number, byte: u8) -> (usize, Mark) {
        match number.next(byte) {
            Some(next) => (1, self.go(State::InNumber(next))),
            None if number.complete() => (0, self.ended()),
            None => (1, self.go(State::Broken)),
        }
    }

    fn in_literal(&mut self, rest: &'static [u8], byte: u8) -> Mark {
        match rest.split_first() {
            Some((first, [])) if *first == byte => self.ended(),
            Some((first, rest)) if *first == byte => self.go(State::InLiteral(rest)),
            Some(_) | None => self.go(State::Broken),
        }
    }

    fn ended(&mut self) -> Mark {
        self.state = State::After;
        self.mark_outermost(Mark::ValueEnds)
    }

    fn mark_outermost(&self, mark: Mark) -> Mark {
        if self.depth == 1 { mark } else { Mark::Dry }
    }

    fn go(&mut self, state: State) -> Mark {
        self.state = state;
        Mark::Dry
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, Mark};

    fn run(pieces: &[&[u8]]) -> (bool, Vec<(usize, Mark)>) {
        let (mut machine, mut marks, mut base) = (Machine::default(), Vec::new(), 0);
        for piece in pieces {
            let mut at = 0;
            loop {
                let (used, mark) = machine.advance(&piece[at..]);
                at += used;
                if mark == Mark::Dry {
                    break;
                }
                marks.push((base + at, mark));
            }
            base += piece.len();
        }
        (machine.complete(), marks)
    }

    const TEXTS: &[&str] = &[
        "{}",
        "[]",
        "[1]",
        "[1,]",
        "[,1]",
        "{\"a\":1}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{1:2}",
        "[\"\\u00e9\"]",
        "[\"\\u00g9\"]",
        "[\"\\x\"]",
        "[\"a\nb\"]",
        "[\"",
        "[01]",
        "[-0]",
        "[1.]",
        "[1.5e-3,2]",
        "[tru]",
        "[true,false,null]",
        "{} {}",
        "[}",
        "{]",
        "[1}",
        "{\"a\":[{\"b\":{}}]} ",
        "{\"a\" : 1 , \"b\":[ ] }",
        "[\"a\":1]",
        "[nullx]",
        "{}]",
        "",
    ];

    #[test]
    fn accepts_what_serde_json_accepts_at_every_split() {
        for text in TEXTS {
            let judged = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            let whole = run(&[text.as_bytes()]);
            assert_eq!(whole.0, judged, "{text}");
            for at in 0..=text.len() {
                let (left, right) = text.as_bytes().split_at(at);
                assert_eq!(run(&[left, right]), whole, "{text} cut at {at}");
            }
        }
    }

    #[test]
    fn only_the_outermost_members_are_marked() {
        let (_, marks) = run(&[br#"{"a":{"b":1},"c":2}"#]);
        let expected = [
            (2, Mark::NameBegins),
            (4, Mark::NameEnds),
            (12, Mark::ValueEnds),
            (14, Mark::NameBegins),
            (16, Mark::NameEnds),
            (18, Mark::ValueEnds),
        ];
        assert_eq!(marks, expected);
    }

    #[test]
    fn deep_nesting_is_never_complete() {
        assert!(!run(&["[".repeat(10_000).as_bytes(), "]".repeat(10_000).as_bytes()]).0);
    }
}
