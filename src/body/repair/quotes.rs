//! Which marks open and close a string, and whether a mark inside of one closes it.

use super::cursor::{Cursor, Stop, is_odd_space, is_space};
use super::scalar;

/// A name behind a comma is looked for within this many bytes.
const NAME: usize = 256;

/// How marks inside of a string are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    /// The first one that can close it does.
    Plain,
    /// One that nothing fitting follows belongs to the string.
    Lenient,
}

/// Where a string stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A member's name.
    Name,
    /// A member's value.
    Member,
    /// An array's item.
    Item,
}

/// The marks that close what `open` opens; none when it opens nothing.
pub(super) fn closers(open: char) -> Option<&'static [char]> {
    Some(match open {
        '"' => &['"'],
        '\'' => &['\''],
        '`' => &['`'],
        '“' | '”' => &['”'],
        '„' => &['“', '”'],
        '«' => &['»'],
        '‘' | '’' => &['’'],
        '‚' => &['‘', '’'],
        _ => return None,
    })
}

/// What a string's marks have been so far.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    pub(super) open: char,
    closers: &'static [char],
    /// The string is an item of an array.
    item: bool,
    /// Marks that belong to the string.
    inner: u32,
    first: bool,
    /// They must come in pairs, since some stand where a list goes on.
    paired: bool,
    /// Marks behind a word that close nothing: inches.
    single: u32,
    /// Marks that open something inside.
    opened: u32,
    /// The last character, and the last that isn't white space; whether a line ended since.
    last: Option<char>,
    solid: Option<char>,
    line: bool,
    last_inner: bool,
}

impl Marks {
    pub(super) fn new(open: char, closers: &'static [char], role: Role) -> Self {
        Self {
            open,
            closers,
            item: role == Role::Item,
            inner: 0,
            first: false,
            paired: role == Role::Item,
            single: 0,
            opened: 0,
            last: None,
            solid: None,
            line: false,
            last_inner: false,
        }
    }

    pub(super) fn is_closer(&self, c: char) -> bool {
        self.closers.contains(&c)
    }

    /// Whether another string may begin here, because this one's end was forgotten.
    pub(super) fn is_opener(&self, c: char) -> bool {
        c == self.open && !self.is_closer(c)
    }

    pub(super) fn pass(&mut self, c: char) {
        self.last = Some(c);
        if is_space(c) {
            self.line |= c == '\n';
        } else {
            self.solid = Some(c);
            self.line = false;
        }
        self.last_inner = false;
    }

    pub(super) fn has_inner(&self) -> bool {
        self.inner > 0
    }

    /// Takes a mark into the string. Broken where it may as well be structure.
    pub(super) fn take(&mut self, mark: char, rest: &str) -> Result<(), Stop> {
        let next = rest.chars().next().ok_or(Stop::Broken)?;
        let behind = rest.trim_start_matches(is_space);
        let solid = behind.chars().next().ok_or(Stop::Broken)?;
        let ends_line = rest
            .get(..rest.len() - behind.len())
            .is_some_and(|s| s.contains('\n'));
        let doubled = self.is_closer(solid) && !self.is_closer(next) || self.last_inner;
        if doubled
            || ends_line
            || self.line
            || matches!(solid, '{' | '}' | '[' | ']' | ':' | '：')
            || matches!(self.solid, Some('{' | '['))
        {
            return Err(Stop::Broken);
        }
        if is_apostrophe(self.open) {
            self.apostrophe(next)?;
        } else {
            self.double(behind)?;
        }
        self.first |= self.last.is_none();
        self.inner = self.inner.saturating_add(1);
        self.pass(mark);
        self.last_inner = true;
        Ok(())
    }

    /// Beside a comma it may belong to a list: no words follow, or none did before.
    fn double(&mut self, behind: &str) -> Result<(), Stop> {
        let list = behind.strip_prefix([',', '，']).map(skip_space);
        let is_list = list.is_some_and(|list| self.item || !list.starts_with(char::is_alphabetic));
        if is_list || is_name(behind) {
            return Err(Stop::Broken);
        }
        self.paired |= list.is_some() || self.solid == Some(',');
        let closes = self
            .last
            .is_some_and(|last| last.is_alphanumeric() || ".,!?)…".contains(last));
        match (closes, self.opened) {
            (true, 0) => self.single = self.single.saturating_add(1),
            (true, _) => self.opened = self.opened.saturating_sub(1),
            (false, _) => self.opened = self.opened.saturating_add(1),
        }
        Ok(())
    }

    /// Behind a space it opens something, which must be closed; between letters it is an apostrophe.
    fn apostrophe(&mut self, next: char) -> Result<(), Stop> {
        let last = self.last.ok_or(Stop::Broken)?;
        if last.is_alphanumeric() && !next.is_alphanumeric() {
            self.opened = self.opened.saturating_sub(1);
        } else if !last.is_alphanumeric() {
            self.opened = self.opened.saturating_add(1);
        }
        Ok(())
    }

    /// The string ends here. Broken where the marks inside don't add up.
    pub(super) fn settle(&self) -> Result<(), Stop> {
        let at_an_end = self.first || self.last_inner;
        let odd = (self.paired || at_an_end) && !is_apostrophe(self.open) && self.single > 0;
        let doubled = self.first && self.last_inner && self.inner == 2;
        let dangling = is_apostrophe(self.open) && self.last_inner;
        if odd || doubled || dangling || self.opened > 0 {
            return Err(Stop::Broken);
        }
        Ok(())
    }
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '‘' | '’' | '‚')
}

/// Whether what comes next may follow a string in its role.
pub(super) fn may_follow(cursor: &Cursor<'_>, role: Role) -> bool {
    let behind = skip_space(cursor.rest());
    let spaces = cursor.rest().len().saturating_sub(behind.len());
    let line = cursor.rest().get(..spaces).is_some_and(|s| s.contains('\n'));
    let list = behind.strip_prefix([',', '，']).map(skip_space);
    match role {
        Role::Name => true,
        Role::Member => match list {
            Some(list) => list.is_empty() || list.starts_with(['}', '/']) || is_name(list),
            None => ends(behind, '}') || line && is_name(behind),
        },
        Role::Item => match list {
            Some(list) => list.is_empty() || list.starts_with([']', '/']) || is_item(list),
            None => ends(behind, ']'),
        },
    }
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches(|c| is_space(c) || is_odd_space(c))
}

fn ends(behind: &str, close: char) -> bool {
    behind.is_empty() || behind.starts_with(close) || behind.starts_with("```")
}

/// Whether a member's name and its colon come next.
fn is_name(text: &str) -> bool {
    let near = text.get(..text.floor_char_boundary(NAME)).unwrap_or_default();
    let mut chars = near.chars();
    let Some(open) = chars.next() else { return false };
    let behind = match closers(open) {
        Some(closers) => chars
            .as_str()
            .find(closers)
            .and_then(|at| chars.as_str().get(at..))
            .map(|rest| rest.trim_start_matches(closers)),
        None if scalar::begins_name(open) => Some(near.trim_start_matches(scalar::in_word)),
        None => None,
    };
    behind.is_some_and(|behind| skip_space(behind).starts_with([':', '：']))
}

/// Whether an item comes next, or what begins like one.
fn is_item(text: &str) -> bool {
    let begins = |c: char| matches!(c, '{' | '[' | '-') || c.is_ascii_digit() || closers(c).is_some();
    let word = text.split(|c| !scalar::in_word(c)).next().unwrap_or_default();
    text.starts_with(begins) || scalar::literal(word).is_some()
}
