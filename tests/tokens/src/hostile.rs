//! Inputs made to be slow: what beats one tokenizer or another, and runs of every kind of character.

use crate::random::Random;

/// A text to repeat, or to draw from.
#[derive(Clone, Copy, Debug)]
enum Recipe {
    /// This, over and over.
    Repeat(&'static str),
    /// Characters of these, at random.
    Draw(&'static str),
    /// Characters between these two, at random.
    Range(u32, u32),
    /// Words of so many characters of these, with a space between them.
    Words(usize, &'static str),
}

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

use Recipe::{Draw, Range, Repeat, Words};

const RECIPES: [(&str, Recipe); 42] = [
    ("spaces", Repeat(" ")),
    ("tabs", Repeat("\t")),
    ("newlines", Repeat("\n")),
    ("CR LF", Repeat("\r\n")),
    ("newline, space", Repeat("\n ")),
    ("ideographic spaces", Repeat("\u{3000}")),
    ("a", Repeat("a")),
    ("A", Repeat("A")),
    ("aA", Repeat("aA")),
    ("digit", Repeat("7")),
    ("hyphens", Repeat("-")),
    ("equals", Repeat("=")),
    ("slashes", Repeat("/")),
    ("backslashes", Repeat("\\")),
    ("quotes", Repeat("\"")),
    ("apostrophes", Repeat("'")),
    ("contractions", Repeat("'s")),
    ("titlecase", Repeat("\u{1c5}")),
    ("modifier letters", Repeat("ʰ")),
    ("Cyrillic run", Repeat("о")),
    ("Han run", Repeat("字")),
    ("combining marks", Repeat("\u{301}")),
    ("letter and mark", Repeat("e\u{301}")),
    ("emoji run", Repeat("😀")),
    ("family emoji", Repeat("👩\u{200d}👩\u{200d}👧\u{200d}👦")),
    ("NUL", Repeat("\u{0}")),
    ("private use", Repeat("\u{e000}")),
    ("special tokens", Repeat("<|endoftext|>")),
    ("caseless, then upper case", Repeat("字AAAAAAAAAAAAAAAA")),
    ("random lower case", Draw(LOWER)),
    ("random upper case", Draw(UPPER)),
    ("random a and b", Draw("ab")),
    ("random words of 14", Words(14, LOWER)),
    ("random words of 17", Words(17, LOWER)),
    ("base64", Draw(BASE64)),
    ("random symbols", Draw("!#$%&()*+,-.:;<=>?@[]^_`{|}~")),
    ("random white space", Draw(" \t\n\r\u{a0}\u{2003}")),
    ("random Han", Range(0x4e00, 0x9fff)),
    ("random Hangul", Range(0xac00, 0xd7a3)),
    ("random Thai", Range(0xe01, 0xe4e)),
    ("random Arabic", Range(0x621, 0x64a)),
    ("random, anything", Range(0x80, 0x2_ffff)),
];

/// Each hostile input: what it is, and `bytes` of it (a character less, where that doesn't divide), not escaped. One at a
/// time, as they are large.
pub fn inputs(bytes: usize) -> impl Iterator<Item = (&'static str, String)> {
    RECIPES
        .iter()
        .map(move |(name, recipe)| (*name, make(*recipe, bytes)))
}

fn make(recipe: Recipe, bytes: usize) -> String {
    let mut random = Random::new(7);
    let mut text = String::with_capacity(bytes + 64);
    let letters: Vec<char> = match recipe {
        Draw(all) | Words(_, all) => all.chars().collect(),
        Repeat(_) | Range(..) => Vec::new(),
    };
    while text.len() < bytes {
        match recipe {
            Repeat(piece) => text.push_str(piece),
            Draw(_) => text.push(*random.one(&letters)),
            Range(first, last) => text.push(random.character(first, last)),
            Words(length, _) => {
                text.push_str(&random.string(&letters, length));
                text.push(' ');
            }
        }
    }
    text.truncate(text.floor_char_boundary(bytes));
    text
}
