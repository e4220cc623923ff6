//! Valid JSON, damaged at random in the ways that models damage it.
//!
//! Shares nothing with the repair: values are made and written here, and each kind of damage is done while a value is
//! written, or to the finished text. What the damage leaves readable as JSON is no case.

use serde_json::{Map, Value, json};

/// xorshift64*: the same cases in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.roll(from.len())]
    }
}

const WORDS: &[&str] = &[
    "order",
    "the",
    "a",
    "it's",
    "don't",
    "5\" pipe",
    "\"quoted\"",
    "said \"yes\", and",
    "[1]",
    "{name}",
    "C:\\Users\\ada",
    "C:\\new",
    "\\d+\\s",
    "\\alpha",
    "x_y",
    "é",
    "名前",
    "😀",
    "// no",
    "/* no */",
    "# no",
    "http://x.test/a?b=c",
    "true",
    "None",
    "1,000",
    "a, b",
    "key: value",
    "\n",
    "\t",
    "\r\n",
    "```",
    "```json",
    "...",
    "“so”",
    "‘so’",
    "'n'",
    "“",
    "\u{1}",
    "<b class=\"x\">",
    "print(\"x\")",
    "\"a\": 1",
    "{\"a\": \"b\"}",
    "', '",
    "\", \"",
    "\"}",
    "]",
    "}",
    ":",
    ",",
    "\"",
    "'",
    "\\",
    "",
    " ",
    "`code`",
    "${x}",
    "NaN",
    "\u{a0}",
    "\\n",
    "\\\"",
];
const NAMES: &[&str] = &[
    "id",
    "name",
    "items",
    "note",
    "user_id",
    "data-id",
    "first name",
    "$ref",
    "_x",
    "1",
    "a b",
    "true",
    "é",
    "it's",
    "a.b",
    "x\"y",
    "created_at",
    "total",
    "tags",
    "url",
];

fn text(dice: &mut Dice) -> String {
    let plain = dice.one_in(2);
    let words = if plain { &WORDS[..3] } else { WORDS };
    let count = dice.roll(6);
    let separator = if dice.one_in(6) { "" } else { " " };
    (0..count)
        .map(|_| dice.pick(words))
        .collect::<Vec<_>>()
        .join(separator)
}

/// A value, nested at most `depth` deep.
pub(crate) fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.roll(if depth == 0 { 6 } else { 10 }) {
        0 => json!(dice.one_in(2)),
        1 => Value::Null,
        2 => json!(dice.roll(2000)),
        3 => json!(dice.roll(2000) as f64 / 8.0 - 100.0),
        4 | 5 => json!(text(dice)),
        6 | 7 => (0..dice.roll(4)).map(|_| value(dice, depth - 1)).collect(),
        _ => object(dice, depth),
    }
}

/// An object with at least one member.
pub(crate) fn object(dice: &mut Dice, depth: usize) -> Value {
    let mut members = Map::new();
    for _ in 0..=dice.roll(4) {
        let name = dice.pick(NAMES).to_owned();
        members.insert(name, value(dice, depth.saturating_sub(1)));
    }
    Value::Object(members)
}

/// How damaged JSON is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    single: bool,
    smart: bool,
    bare_names: bool,
    python: bool,
    raw_controls: bool,
    raw_quotes: bool,
    raw_slashes: bool,
    trailing: bool,
    lost_commas: bool,
    comments: bool,
    odd_spaces: bool,
    pretty: bool,
}

impl Style {
    /// One to three kinds of damage.
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let mut style = Self {
            pretty: dice.one_in(2),
            ..Self::default()
        };
        for _ in 0..dice.roll(4) {
            match dice.roll(11) {
                0 => style.single = true,
                1 => style.smart = true,
                2 => style.bare_names = true,
                3 => style.python = true,
                4 => style.raw_controls = true,
                5 => style.raw_quotes = true,
                6 => style.raw_slashes = true,
                7 => style.trailing = true,
                8 => style.lost_commas = true,
                9 => style.comments = true,
                _ => style.odd_spaces = true,
            }
        }
        style
    }
}

/// What was written, and where its brackets, commas, colons and quotes stand.
pub(crate) struct Written {
    pub(crate) text: String,
    structure: Vec<usize>,
    style: Style,
}

/// Writes a value in a style.
pub(crate) fn write(value: &Value, style: Style, dice: &mut Dice) -> Written {
    let mut text = String::new();
    let mut writer = Writer {
        style,
        dice,
        depth: 0,
        structure: Vec::new(),
    };
    writer.value(value, &mut text);
    Written {
        text,
        structure: writer.structure,
        style,
    }
}

struct Writer<'d> {
    style: Style,
    dice: &'d mut Dice,
    depth: usize,
    structure: Vec<usize>,
}

impl Writer<'_> {
    fn mark(&mut self, mark: char, out: &mut String) {
        self.structure.push(out.len());
        out.push(mark);
    }

    fn value(&mut self, value: &Value, out: &mut String) {
        let python = self.style.python;
        match value {
            Value::Null if python => out.push_str("None"),
            Value::Bool(true) if python => out.push_str("True"),
            Value::Bool(false) if python => out.push_str("False"),
            Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
            Value::String(text) => self.string(text, out),
            Value::Array(items) => {
                self.all(items.len(), ['[', ']'], out, |w, n, out| w.value(&items[n], out))
            }
            Value::Object(members) => {
                let members: Vec<_> = members.iter().collect();
                self.all(members.len(), ['{', '}'], out, |w, n, out| {
                    w.name(members[n].0, out);
                    w.mark(':', out);
                    out.push_str(if w.dice.one_in(2) { "" } else { " " });
                    w.value(members[n].1, out);
                });
            }
        }
    }

    fn all(
        &mut self,
        count: usize,
        brackets: [char; 2],
        out: &mut String,
        one: impl Fn(&mut Self, usize, &mut String),
    ) {
        self.mark(brackets[0], out);
        self.depth += 1;
        for n in 0..count {
            self.line(out);
            one(self, n, out);
            let last = n + 1 == count;
            let lost = !last && self.style.lost_commas && self.dice.one_in(3);
            if !last && !lost || last && self.style.trailing && self.dice.one_in(2) {
                self.mark(',', out);
            } else if lost {
                out.push(' ');
            }
        }
        self.depth -= 1;
        if count > 0 {
            self.line(out);
        }
        self.mark(brackets[1], out);
    }

    fn line(&mut self, out: &mut String) {
        if self.style.comments && self.dice.one_in(4) {
            let comment = [
                " // note\n",
                " /* a, b: {} */ ",
                " # it's one\n",
                " // \"old\": 1,\n",
            ];
            out.push_str(self.dice.pick(&comment));
        }
        if self.style.odd_spaces && self.dice.one_in(3) {
            out.push('\u{a0}');
        }
        if self.style.pretty {
            out.push('\n');
            out.push_str(&"  ".repeat(self.depth));
        }
    }

    fn name(&mut self, name: &str, out: &mut String) {
        let bare = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if self.style.bare_names && bare {
            out.push_str(name);
        } else {
            self.string(name, out);
        }
    }

    fn string(&mut self, text: &str, out: &mut String) {
        let style = self.style;
        let (open, close) = match (style.single, style.smart) {
            (true, _) => ('\'', '\''),
            (_, true) => ('“', '”'),
            _ => ('"', '"'),
        };
        self.mark(open, out);
        let raw_quotes = style.raw_quotes && !lists(text, close);
        let raw = style.raw_slashes && shows_slashes(text);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                _ if c == close && !raw_quotes => out.extend(['\\', c]),
                '"' | '\'' if c == close => out.push(c),
                '\\' if raw && chars.peek().is_some_and(|c| c.is_alphanumeric() || *c == '`') => out.push(c),
                '\\' => out.push_str("\\\\"),
                '\n' if !style.raw_controls => out.push_str("\\n"),
                '\r' if !style.raw_controls => out.push_str("\\r"),
                '\t' if !style.raw_controls => out.push_str("\\t"),
                '\u{1}' if !style.raw_controls => out.push_str("\\u0001"),
                _ => out.push(c),
            }
        }
        self.mark(close, out);
    }
}

/// Whether quotes of it, if they weren't escaped, would make two strings of it.
fn lists(text: &str, close: char) -> bool {
    let solid: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    solid.contains(&format!("{close},{close}"))
}

/// Whether a backslash of it stands before a letter that JSON has no escape for: if none does, nobody sees that they
/// weren't doubled.
fn shows_slashes(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shows =
        |pair: &[u8]| pair[0] == b'\\' && pair[1].is_ascii_alphabetic() && !b"bfnrtu".contains(&pair[1]);
    bytes.windows(2).any(shows)
}

/// What is put around an answer, or taken from it.
pub(crate) fn surround(written: &Written, dice: &mut Dice) -> String {
    let text = &written.text;
    let before = [
        "",
        "",
        "Sure! Here's the JSON:\n",
        "Here you go: ",
        "Answer (see [1]): ",
        "<think>is it {\"id\": 1}?</think>\n",
        "The {name} is set:\n",
        "\u{feff}",
    ];
    let after = [
        "",
        "",
        "\n\nHope this helps!",
        "\nNote: it's done [1].",
        "\n{\"id\": 0}",
        "<|im_end|>",
        "}",
        "\nI used [\"a\"].",
    ];
    match dice.roll(8) {
        0 | 1 => text.to_owned(),
        2 => format!("```json\n{text}\n```"),
        3 => format!("{}```\n{text}\n```{}", dice.pick(&before), dice.pick(&after)),
        4 => format!("{}{text}{}", dice.pick(&before), dice.pick(&after)),
        5 => format!("{text}{}{text}", dice.pick(&["", "\n", "\n\nAgain:\n", ", "])),
        // Where a quote isn't escaped and the text is cut there, the quote looks like the string's end: nobody can tell.
        6 if !written.style.raw_quotes => cut(text, dice),
        _ => lose_structure(written, dice),
    }
}

/// The beginning of it.
fn cut(text: &str, dice: &mut Dice) -> String {
    let at = text.floor_char_boundary(dice.roll(text.len() + 1));
    text[..at].to_owned()
}

/// A bracket, comma, colon or quote less, or twice. The last one goes most often.
fn lose_structure(written: &Written, dice: &mut Dice) -> String {
    let marks = &written.structure;
    let at = match dice.roll(3) {
        0 => marks[marks.len() - 1],
        _ => marks[dice.roll(marks.len())],
    };
    let (left, right) = written.text.split_at(at);
    let mark = right.chars().next().unwrap_or_default();
    let (rest, len) = (right.trim_start_matches(mark), mark.len_utf8());
    if right.len() - rest.len() > len || left.ends_with(mark) {
        // One of several alike: nobody sees that it is missing.
        return written.text.clone();
    }
    match dice.roll(3) {
        // Without a space two numbers would be one, and nobody would know.
        0 | 1 => format!(
            "{left}{}{}",
            if right.starts_with(',') { " " } else { "" },
            &right[len..]
        ),
        _ => format!("{left}{}{right}", &right[..len]),
    }
}
