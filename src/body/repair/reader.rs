//! Reading one object or array that isn't quite JSON.
//!
//! The text is followed as strictly as it allows; only where it can't be JSON is it looked at what else it may be. What
//! was read is written on as JSON while it is read, without white space.

use std::collections::HashSet;

use super::cursor::{Cursor, Stop};
use super::quotes::{Quoting, Role, closers};
use super::{MAX_NESTING, Mend, Mends, scalar, strings};
use crate::json;

/// What a bracket turned out to begin.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An object or array.
    Value(Found),
    /// No JSON.
    Prose,
    /// JSON that has no sure reading.
    Broken,
}

/// An object or array.
#[derive(Debug)]
pub(super) struct Found {
    /// It, as JSON.
    pub(super) bytes: Vec<u8>,
    /// What was mended in it.
    pub(super) mends: Mends,
    /// Where the text goes on.
    pub(super) end: usize,
    /// Nothing but white space stands before it.
    pub(super) begins_text: bool,
    /// An object inside of an object is followed by another member, which would belong to it if its bracket weren't there.
    pub(super) goes_on: bool,
}

/// Reads what the bracket at `open` begins.
pub(super) fn read(text: &str, open: usize) -> Outcome {
    let doubled = text.get(open..).is_some_and(|rest| rest.starts_with("{{"));
    let inner = if doubled { open + 1 } else { open };
    let outcome = match attempt(text, inner, Quoting::Plain) {
        Err(Stop::Broken) => attempt(text, inner, Quoting::Lenient),
        plain => plain,
    };
    match outcome {
        Ok(mut found) => {
            found.begins_text = text.get(..open).is_some_and(|before| before.trim().is_empty());
            if !doubled {
                return Outcome::Value(found);
            }
            // A template's doubled brackets: both of them are doubled, or it isn't one.
            match text.get(found.end..).is_some_and(|rest| rest.starts_with('}')) {
                true => {
                    found.end += 1;
                    found.mends.add(Mend::Extra);
                    Outcome::Value(found)
                }
                false => Outcome::Broken,
            }
        }
        Err(Stop::Prose) if !doubled => Outcome::Prose,
        Err(Stop::Prose | Stop::Broken) => Outcome::Broken,
    }
}

fn attempt(text: &str, open: usize, quoting: Quoting) -> Result<Found, Stop> {
    let mut reader = Reader {
        cursor: Cursor::new(text, open),
        out: Vec::new(),
        open: Vec::new(),
        closed: Vec::new(),
        quoting,
        begun: false,
        goes_on: false,
    };
    let mut next = reader.enter()?;
    while next != Next::Done {
        next = match next {
            Next::First | Next::More => reader.element(next)?,
            Next::Behind => reader.behind()?,
            Next::Done => Next::Done,
        };
    }
    Ok(Found {
        bytes: reader.out,
        mends: reader.cursor.mends,
        end: reader.cursor.at,
        begins_text: false,
        goes_on: reader.goes_on,
    })
}

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The first element of a container, or its end.
    First,
    /// An element behind a comma.
    More,
    /// What follows a value.
    Behind,
    /// Nothing: the outermost container is closed.
    Done,
}

/// A container, as far as it is read.
#[derive(Debug)]
struct Container {
    kind: Kind,
    elements: usize,
    /// The names that came, decoded.
    names: HashSet<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

impl Kind {
    fn close(self) -> char {
        match self {
            Self::Array => ']',
            Self::Object => '}',
        }
    }
}

struct Reader<'t> {
    cursor: Cursor<'t>,
    out: Vec<u8>,
    open: Vec<Container>,
    /// What was closed since the last element: kinds and elements, the innermost first.
    closed: Vec<(Kind, usize)>,
    quoting: Quoting,
    /// It is JSON, broken perhaps, and no longer a bracket of prose.
    begun: bool,
    goes_on: bool,
}

impl Reader<'_> {
    fn enter(&mut self) -> Result<Next, Stop> {
        if self.open.len() >= MAX_NESTING {
            return Err(Stop::Broken);
        }
        let open = self.cursor.next()?;
        self.begun |= !self.open.is_empty();
        let (kind, byte) = match open {
            '{' => (Kind::Object, b'{'),
            _ => (Kind::Array, b'['),
        };
        self.open.push(Container {
            kind,
            elements: 0,
            names: HashSet::new(),
        });
        self.out.push(byte);
        Ok(Next::First)
    }

    fn element(&mut self, place: Next) -> Result<Next, Stop> {
        self.cursor.space()?;
        if let Some(close @ ('}' | ']')) = self.cursor.peek() {
            if place == Next::More {
                self.cursor.mends.add(Mend::Comma);
            }
            return self.close(close);
        }
        // More was to come.
        if self.cursor.at_end() {
            return Err(Stop::Broken);
        }
        if place == Next::More {
            self.out.push(b',');
        }
        let within = self.open.last_mut().ok_or(Stop::Broken)?;
        within.elements = within.elements.saturating_add(1);
        let closed = self.closed.last().map(|(kind, _)| *kind);
        self.goes_on |= within.kind == Kind::Object && closed == Some(Kind::Object);
        self.closed.clear();
        match within.kind {
            Kind::Object => {
                self.name()?;
                self.value(Role::Member)
            }
            Kind::Array => self.value(Role::Item),
        }
    }

    fn name(&mut self) -> Result<(), Stop> {
        let from = self.out.len();
        match self.cursor.peek() {
            Some(c) if closers(c).is_some() => {
                self.begun = true;
                strings::read(&mut self.cursor, &mut self.out, self.quoting, Role::Name)?;
            }
            Some(c) if scalar::begins_name(c) => {
                let name = self.cursor.run(scalar::in_word);
                json::push_string(&mut self.out, name);
                self.cursor.mends.add(Mend::Quotes);
            }
            Some(_) | None => return Err(self.stop()),
        }
        self.cursor.space()?;
        if !self.cursor.eat(":") {
            if !self.cursor.eat("：") {
                return Err(self.stop());
            }
            self.cursor.mends.add(Mend::Space);
        }
        self.begun = true;
        self.remember(from)?;
        self.out.push(b':');
        Ok(())
    }

    /// A name that comes twice has two readings.
    fn remember(&mut self, from: usize) -> Result<(), Stop> {
        let quoted = self.out.get(from..).unwrap_or_default();
        let raw = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        let name = json::name(raw).into_owned().into_boxed_slice();
        let within = self.open.last_mut().ok_or(Stop::Broken)?;
        if within.names.insert(name) {
            Ok(())
        } else {
            Err(Stop::Broken)
        }
    }

    fn value(&mut self, role: Role) -> Result<Next, Stop> {
        self.cursor.space()?;
        match self.cursor.peek() {
            Some('{' | '[') => return self.enter(),
            Some(c) if closers(c).is_some() => {
                self.begun = true;
                strings::read(&mut self.cursor, &mut self.out, self.quoting, role)?;
                self.not_opened_twice()?;
            }
            Some('0'..='9' | '+' | '-' | '.') => self.number()?,
            Some(c) if c.is_alphabetic() => {
                let word = self.cursor.run(scalar::in_word);
                let literal = scalar::literal(word).ok_or_else(|| self.stop())?;
                self.literal(word, literal);
            }
            Some(_) | None => return Err(self.stop()),
        }
        self.begun = true;
        Ok(Next::Behind)
    }

    /// An empty string before what looks like a comment was perhaps opened twice, and isn't empty.
    fn not_opened_twice(&self) -> Result<(), Stop> {
        let is_empty = self.out.ends_with(b"\"\"") && !self.out.ends_with(b"\\\"\"");
        let rest = self.cursor.rest().trim_start_matches([' ', '\t']);
        if is_empty && rest.starts_with(['/', '#']) {
            return Err(Stop::Broken);
        }
        Ok(())
    }

    /// A number that the text ends with may have been cut off.
    fn number(&mut self) -> Result<(), Stop> {
        let run = self.cursor.run(scalar::in_number);
        if self.cursor.rest().is_empty() {
            return Err(Stop::Broken);
        }
        let number = scalar::number(run).ok_or_else(|| self.stop())?;
        self.literal(run, &number);
        Ok(())
    }

    fn literal(&mut self, given: &str, meant: &str) {
        if given != meant {
            self.cursor.mends.add(Mend::Literal);
        }
        self.out.extend(meant.bytes());
    }

    fn behind(&mut self) -> Result<Next, Stop> {
        let line = self.cursor.space()?;
        match self.cursor.peek() {
            Some(',') => {
                self.cursor.at += 1;
                Ok(Next::More)
            }
            Some(close @ ('}' | ']')) => self.close(close),
            Some('，') => {
                self.cursor.next()?;
                self.cursor.mends.add(Mend::Space);
                Ok(Next::More)
            }
            _ if self.cursor.at_end() => self.complete(),
            Some(c) if self.lacks_comma(c, line) => {
                self.cursor.mends.add(Mend::Comma);
                Ok(Next::More)
            }
            Some(_) | None => Err(Stop::Broken),
        }
    }

    /// Whether `next` begins another element where a comma was forgotten: a member on a line of its own, an object
    /// behind an object.
    fn lacks_comma(&self, next: char, line: bool) -> bool {
        match self.open.last().map(|within| within.kind) {
            Some(Kind::Object) => line && (closers(next).is_some() || scalar::begins_name(next)),
            Some(Kind::Array) => next == '{' && self.out.ends_with(b"}"),
            None => false,
        }
    }

    fn close(&mut self, close: char) -> Result<Next, Stop> {
        if self.open.last().map(|within| within.kind.close()) != Some(close) {
            return self.mismatched();
        }
        self.cursor.next()?;
        self.pop();
        Ok(if self.open.is_empty() {
            Next::Done
        } else {
            Next::Behind
        })
    }

    fn pop(&mut self) {
        if let Some(Container { kind, elements, .. }) = self.open.pop() {
            self.closed.push((kind, elements));
            self.out.extend(kind.close().encode_utf8(&mut [0; 4]).bytes());
        }
    }

    /// At the end of the text some of the closing brackets may be missing, but none of those that came may be over.
    fn mismatched(&mut self) -> Result<Next, Stop> {
        while let Some(close @ ('}' | ']')) = self.cursor.peek() {
            while self.open.last().ok_or(Stop::Broken)?.kind.close() != close {
                self.pop();
            }
            self.pop();
            self.cursor.next()?;
            self.cursor.space()?;
        }
        if self.cursor.at_end() {
            self.complete()
        } else {
            Err(Stop::Broken)
        }
    }

    /// Adds the brackets that the end of the text lacks. A string that ends in a space was perhaps ended by a quote
    /// inside of it.
    fn complete(&mut self) -> Result<Next, Stop> {
        let was_cut = self.closed.is_empty();
        if self.out.ends_with(b" \"") {
            return Err(Stop::Broken);
        }
        while !self.open.is_empty() {
            self.pop();
        }
        if !was_cut && self.may_lack_elsewhere() {
            return Err(Stop::Broken);
        }
        self.cursor.mends.add(Mend::Closed);
        Ok(Next::Done)
    }

    /// Where some brackets came, the missing one may belong further up: `{"a":{"b":1,"c":2}` has two readings, and so
    /// has `[[1]`, which may have a bracket too many.
    fn may_lack_elsewhere(&self) -> bool {
        let pairs = self.closed.iter().zip(self.closed.iter().skip(1));
        let mut ambiguous =
            pairs.filter(|(inner, outer)| inner.0 == outer.0 && (inner.0 == Kind::Array || inner.1 > 1));
        ambiguous.next().is_some()
    }

    fn stop(&self) -> Stop {
        if self.begun { Stop::Broken } else { Stop::Prose }
    }
}
