//! Whether what an answer claims stands in the context that its request carried.
//!
//! Claims are the values of named fields, quotations, and ids of citations. They are looked for exactly, after white
//! space and quotes are made alike, all of them in one pass over the context. The invariant: that pass is linear, for
//! comparing is bounded; what was not looked for to the end is told apart from what was not found.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json;

/// What of an answer must stand in the context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// JSON Pointers into the answer; `*` stands for every item or member.
    pub fields: Vec<String>,
    /// Text in quotation marks, of at least [`Claims::QUOTATION`] bytes.
    pub quotations: bool,
    /// Ids in square brackets: `[doc-3]`. One of digits alone must stand in brackets in the context too.
    pub citations: bool,
}

/// How much of an answer is grounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grounded {
    /// Claims that were looked for.
    pub claims: u32,
    /// Those that stand in the context.
    pub found: u32,
    /// Those of which nobody knows, since there were too many or comparing took too long. Not among `claims`.
    pub unknown: u32,
}

impl Grounded {
    /// Share of the claims that were found; 1 when there are none.
    #[must_use]
    pub fn ratio(self) -> f64 {
        if self.claims == 0 {
            return 1.0;
        }
        f64::from(self.found) / f64::from(self.claims)
    }
}

/// The text of a context or a claim, with white space and quotes made alike.
#[derive(Clone, Debug, Default)]
pub struct Context {
    text: String,
}

impl Context {
    /// Adds a text of the request: a JSON string's content, still escaped. No claim is found across two of them.
    pub fn push(&mut self, raw: &[u8]) {
        normalize(json::chars(raw), &mut self.text);
        self.text.push('\u{1f}');
    }

    /// Bytes kept.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text.len()
    }
}

impl Claims {
    /// Shorter quotations are turns of phrase, not quotations.
    pub const QUOTATION: usize = 12;
    /// Claims of one answer.
    pub const MAX: usize = 1_024;
    /// Bytes of an id.
    const ID: usize = 64;

    /// How much of `answer` stands in `context`. `answer` is the assistant's text; fields are read when it is JSON.
    #[must_use]
    pub fn judge(&self, answer: &str, context: &Context) -> Grounded {
        let mut found = Found::default();
        if !self.fields.is_empty()
            && let Ok(tree) = serde_json::from_str::<Value>(answer)
        {
            for pointer in &self.fields {
                let steps: Vec<&str> = pointer.split('/').skip(1).collect();
                found.field(&tree, &steps);
            }
        }
        let mut text = String::new();
        normalize(answer.chars(), &mut text);
        if self.quotations {
            found.quotations(&text);
        }
        if self.citations {
            found.citations(&text);
        }
        found.look(&context.text)
    }
}

/// White space becomes one space, quotation marks `"` and `'`, what has no width nothing.
fn normalize(chars: impl Iterator<Item = char>, out: &mut String) {
    for c in chars {
        match c {
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => {}
            '“' | '”' | '„' | '‟' | '«' | '»' | '″' => out.push('"'),
            '‘' | '’' | '‚' | '‛' | '′' | '`' => out.push('\''),
            _ if c.is_whitespace() || c.is_control() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            _ => out.push(c),
        }
    }
}

/// The claims of one answer.
#[derive(Default)]
struct Found {
    claims: Vec<String>,
    over: u32,
}

impl Found {
    fn claim(&mut self, text: &str) {
        let mut claim = String::new();
        normalize(text.chars(), &mut claim);
        let claim = claim.trim();
        if claim.is_empty() {
            return;
        }
        if self.claims.len() >= Claims::MAX {
            self.over = self.over.saturating_add(1);
        } else {
            self.claims.push(claim.to_owned());
        }
    }

    fn field(&mut self, value: &Value, steps: &[&str]) {
        let Some((step, rest)) = steps.split_first() else {
            return self.value(value);
        };
        match value {
            Value::Array(items) if *step == "*" => items.iter().for_each(|item| self.field(item, rest)),
            Value::Object(members) if *step == "*" => members.values().for_each(|v| self.field(v, rest)),
            _ => {
                if let Some(inner) = value.pointer(&format!("/{step}")) {
                    self.field(inner, rest);
                }
            }
        }
    }

    /// Texts and numbers claim something; `true` and `null` don't.
    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.claim(text),
            Value::Number(number) => self.claim(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.value(item)),
            Value::Object(members) => members.values().for_each(|member| self.value(member)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn quotations(&mut self, text: &str) {
        let mut parts = text.split('"').skip(1);
        while let (Some(inside), Some(_)) = (parts.next(), parts.next()) {
            if inside.trim().len() >= Claims::QUOTATION {
                self.claim(inside);
            }
        }
    }

    fn citations(&mut self, text: &str) {
        let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '#');
        for part in text.split('[').skip(1) {
            let len = part.find(|c| !belongs(c)).unwrap_or(part.len());
            let (id, rest) = part.split_at_checked(len).unwrap_or_default();
            if id.is_empty() || id.len() > Claims::ID || !rest.starts_with(']') {
                continue;
            }
            if id.bytes().all(|b| b.is_ascii_digit()) {
                self.claim(&format!("[{id}]"));
            } else {
                self.claim(id);
            }
        }
    }

    /// One pass over the context: at each byte the claims that begin with the next few are compared.
    fn look(self, context: &str) -> Grounded {
        let heads = Heads::of(&self.claims);
        let mut left: usize = context.len().saturating_mul(4).saturating_add(1 << 16);
        let mut found = vec![false; self.claims.len()];
        for at in 0..context.len() {
            for claim in heads.at(context.as_bytes(), at) {
                let (Some(text), Some(seen)) = (self.claims.get(*claim), found.get_mut(*claim)) else {
                    continue;
                };
                let Some(less) = left.checked_sub(1 + if *seen { 0 } else { alike(text, context, at) })
                else {
                    return self.count(&found, false);
                };
                left = less;
                *seen = *seen || stands_at(text, context, at);
            }
        }
        self.count(&found, true)
    }

    /// When comparing had to end, what wasn't found is not known.
    fn count(&self, found: &[bool], to_the_end: bool) -> Grounded {
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let hits = small(found.iter().filter(|seen| **seen).count());
        let all = small(self.claims.len());
        let claims = if to_the_end { all } else { hits };
        Grounded {
            claims,
            found: hits,
            unknown: self.over.saturating_add(all.saturating_sub(claims)),
        }
    }
}

/// How many bytes of a claim stand there.
fn alike(claim: &str, context: &str, at: usize) -> usize {
    let there = context.as_bytes().get(at..).unwrap_or_default();
    claim.bytes().zip(there).take_while(|(a, b)| a == *b).count()
}

/// Whether a claim stands there, and isn't the middle of a longer word or number.
fn stands_at(claim: &str, context: &str, at: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = context.as_bytes();
    let end = at.saturating_add(claim.len());
    if bytes.get(at..end) != Some(claim.as_bytes()) {
        return false;
    }
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    let inside_left = is_word(claim.as_bytes().first()) && is_word(before);
    let inside_right = is_word(claim.as_bytes().last()) && is_word(bytes.get(end));
    !inside_left && !inside_right
}

/// The claims by their first four bytes (or fewer).
struct Heads {
    claims: BTreeMap<u32, Vec<usize>>,
    /// Which first bytes there are: most of a context is passed over by this.
    first: [bool; 256],
    lens: Vec<usize>,
}

impl Heads {
    const LEN: usize = 4;

    fn of(claims: &[String]) -> Self {
        let mut heads = Self {
            claims: BTreeMap::new(),
            first: [false; 256],
            lens: Vec::new(),
        };
        for (number, claim) in claims.iter().enumerate() {
            let len = claim.len().min(Self::LEN);
            let head = claim.as_bytes().get(..len).unwrap_or_default();
            if !heads.lens.contains(&len) {
                heads.lens.push(len);
            }
            if let Some(slot) = head.first().and_then(|b| heads.first.get_mut(usize::from(*b))) {
                *slot = true;
            }
            heads.claims.entry(key(head)).or_default().push(number);
        }
        heads
    }

    fn at(&self, context: &[u8], at: usize) -> impl Iterator<Item = &usize> {
        let first = context
            .get(at)
            .and_then(|byte| self.first.get(usize::from(*byte)));
        let lens: &[usize] = if first == Some(&true) { &self.lens } else { &[] };
        let rest = context.get(at..).unwrap_or_default();
        let heads = lens.iter().filter_map(move |len| rest.get(..*len));
        heads.filter_map(|head| self.claims.get(&key(head))).flatten()
    }
}

/// At most four bytes, which are never 0, as a number.
fn key(head: &[u8]) -> u32 {
    head.iter().fold(0, |key, byte| key << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::{Claims, Context, Grounded};

    fn context(texts: &[&str]) -> Context {
        let mut context = Context::default();
        texts.iter().for_each(|text| context.push(text.as_bytes()));
        context
    }

    fn grounded(claims: u32, found: u32) -> Grounded {
        Grounded {
            claims,
            found,
            unknown: 0,
        }
    }

    fn fields(fields: &[&str]) -> Claims {
        Claims {
            fields: fields.iter().map(|f| (*f).to_owned()).collect(),
            ..Claims::default()
        }
    }

    #[test]
    fn fields_must_stand_in_the_context_as_whole_words() {
        let context = context(&[
            "Order 1234 of Ada  Lovelace:\\n 20 pieces, \\u201cfine\\u201d",
            "total 19.5",
        ]);
        let table = [
            (r#"{"id": 1234, "n": "Ada Lovelace"}"#, (2, 2)),
            (r#"{"id": 123, "n": "Ada"}"#, (2, 1)),
            (r#"{"id": "\"fine\"", "n": 19.5}"#, (2, 2)),
            (r#"{"id": "fine\" total", "n": true}"#, (1, 0)),
            (r#"{"id": ["Ada", {"x": "Bob"}], "n": null}"#, (2, 1)),
            (r#"{"id": "", "other": "Bob"}"#, (0, 0)),
            ("no JSON", (0, 0)),
        ];
        for (answer, (claims, found)) in table {
            let judged = fields(&["/id", "/n"]).judge(answer, &context);
            assert_eq!(judged, grounded(claims, found), "{answer}");
        }
        let items = fields(&["/items/*/name"]);
        let judged = items.judge(r#"{"items": [{"name": "Ada"}, {"name": "Bob"}]}"#, &context);
        assert_eq!(judged, grounded(2, 1));
        assert!((judged.ratio() - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn quotations_and_citations_are_found_in_the_text() {
        let context =
            context(&["[1] The engine has no pretensions whatever to originate anything. [doc-12] Notes."]);
        let claims = Claims {
            quotations: true,
            citations: true,
            ..Claims::default()
        };
        let table = [
            ("She said “the engine has no pretensions” [1].", (2, 1)),
            ("She said “The engine\nhas no pretensions” [1].", (2, 2)),
            ("A \"so-called\" machine [2] [doc-1] [doc-12] [not an id]", (3, 1)),
            ("An open \" quotation without end", (0, 0)),
            ("", (0, 0)),
        ];
        for (answer, (all, found)) in table {
            assert_eq!(claims.judge(answer, &context), grounded(all, found), "{answer}");
        }
    }

    #[test]
    fn hostile_claims_are_bounded_and_told_as_unknown() {
        let long = context(&[&"a".repeat(1 << 20)]);
        let answer = format!(r#"["{}b"]"#, "a".repeat(1 << 19));
        let judged = fields(&[""]).judge(&answer, &long);
        assert_eq!((judged.found, judged.claims + judged.unknown), (0, 1));
        let many = serde_json::to_string(&(0..5_000).collect::<Vec<_>>()).unwrap();
        let judged = fields(&[""]).judge(&many, &context(&["7"]));
        assert_eq!((judged.claims, judged.found, judged.unknown), (1_024, 1, 3_976));
    }
}
