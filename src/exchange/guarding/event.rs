//! What one event of a stream holds for guards: pieces of texts that go on in other events, and texts that are whole.

use std::rc::Rc;

use super::texts::{Sort, Texts};
use crate::dialect::Endpoint;
use crate::guard::Written;
use crate::json::{self, Fault, Lexer, Value};

/// Longer scalars aren't repeated in an event of our own, in bytes.
const SCALAR: usize = 256;
/// Of all scalars together, more isn't repeated, in bytes: providers send some 200.
const SCALARS: usize = 4096;
/// A name on the way to a text may be this long; a text under a longer one is taken for whole.
const NAME: usize = 64;
/// Containers on the way to a text; one that lies deeper is taken for whole.
const DEPTH: usize = 12;

/// Which text a piece belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The choice, content block or output item.
    pub(super) group: u64,
    /// The text in it.
    pub(super) name: Vec<u8>,
}

/// An event of our own, around the content of a string.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// What comes before `head`, once for all pieces of an event.
    pub(super) outer: Rc<[u8]>,
    pub(super) head: Vec<u8>,
    pub(super) foot: Vec<u8>,
}

impl Frame {
    /// The event with this content.
    pub(super) fn around(&self, content: &[u8]) -> Vec<u8> {
        [&*self.outer, &self.head, content, &self.foot].concat()
    }
}

/// A piece of a text.
#[derive(Clone, Debug)]
pub(super) struct Piece<'d> {
    pub(super) key: Key,
    /// Its content, a part of the event's data; not empty.
    pub(super) raw: &'d [u8],
    pub(super) written: Written,
    pub(super) frame: Frame,
}

/// Which texts have ended with an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Closes {
    #[default]
    None,
    /// All of this group.
    Group(u64),
    All,
}

impl Closes {
    /// Whether a text is among them.
    pub(super) fn has(self, key: &Key) -> bool {
        match self {
            Self::None => false,
            Self::Group(group) => key.group == group,
            Self::All => true,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, one) | (one, Self::None) => one,
            (one, same) if one == same => one,
            _ => Self::All,
        }
    }
}

/// What an event holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Event<'d> {
    pub(super) pieces: Vec<Piece<'d>>,
    pub(super) whole: Texts<'d>,
    pub(super) closes: Closes,
    /// Its whole texts are pieces put together, which were seen.
    pub(super) repeats: bool,
}

impl<'d> Event<'d> {
    /// Reads an event's data.
    pub(super) fn of(endpoint: Endpoint, data: &'d [u8]) -> Result<Self, Fault> {
        match endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => chat(data),
            Endpoint::Messages => messages(data),
            Endpoint::Responses => responses(data),
            // Of providers only: what a client gets is in its own protocol.
            Endpoint::GenerateContent => Ok(Self {
                whole: Texts::of(data)?,
                ..Self::default()
            }),
        }
    }
}

/// The outermost members of an event that are no containers, as they are written, each with a comma after it.
#[derive(Default)]
struct Scalars(Vec<u8>);

impl Scalars {
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let short = name.len() <= NAME && value.len() <= SCALAR && self.0.len() <= SCALARS;
        if short && !matches!(value.first(), None | Some(b'{' | b'[')) {
            let member = [b"\"", name, b"\":", value, b","].concat();
            self.0.extend_from_slice(&member);
        }
    }
}

/// OpenAI's chunks: everything in a choice's `delta` goes on, and the `text` of older ones.
fn chat(data: &[u8]) -> Result<Event<'_>, Fault> {
    let (mut event, mut scalars) = (Event::default(), Scalars::default());
    let mut json = Lexer::new(data);
    if json.value()? != Value::Object {
        return Err(Fault::Syntax { at: 0 });
    }
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"choices" => choices(&mut json, &mut event)?,
            decoded => {
                scalars.add(name, json.clone().span()?);
                event.whole.value(&mut json, Sort::Plain.of(decoded))?;
            }
        }
    }
    json.end()?;
    let outer: Rc<[u8]> = [b"data: {", &*scalars.0, b"\"choices\":["].concat().into();
    for piece in &mut event.pieces {
        piece.frame.outer = Rc::clone(&outer);
        piece.frame.foot.extend_from_slice(b"]}\n\n");
    }
    Ok(event)
}

fn choices<'d>(json: &mut Lexer<'d>, event: &mut Event<'d>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Array {
        return json.finish(value);
    }
    while json.item()? {
        choice(json, event)?;
    }
    Ok(())
}

fn choice<'d>(json: &mut Lexer<'d>, event: &mut Event<'d>) -> Result<(), Fault> {
    let ahead = json.clone();
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    let group = member(ahead.clone(), b"index")?
        .and_then(json::unsigned)
        .unwrap_or(0);
    let reason = member(ahead, b"finish_reason")?.unwrap_or(b"null");
    if reason != b"null" {
        event.closes = event.closes.and(Closes::Group(group));
    }
    let mut way = Way {
        group,
        head: format!("{{\"index\":{group},\"finish_reason\":null,").into_bytes(),
        foot: b"}".to_vec(),
    };
    while let Some(name) = json.member()? {
        match &*json::name(name) {
            b"delta" | b"text" => way.member(json, (name, Sort::Plain), event)?,
            decoded => event.whole.value(json, Sort::Plain.of(decoded))?,
        }
    }
    Ok(())
}

/// The value of an object's member, read ahead.
fn member<'d>(mut json: Lexer<'d>, wanted: &[u8]) -> Result<Option<&'d [u8]>, Fault> {
    if json.value()? != Value::Object {
        return Ok(None);
    }
    while let Some(name) = json.member()? {
        let value = json.span()?;
        if &*json::name(name) == wanted {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The way to a piece: what of an event leads to it.
struct Way {
    group: u64,
    head: Vec<u8>,
    /// What closes it again, in the order in which it is written.
    foot: Vec<u8>,
}

impl Way {
    fn member<'d>(
        &mut self,
        json: &mut Lexer<'d>,
        (name, sort): (&'d [u8], Sort),
        event: &mut Event<'d>,
    ) -> Result<(), Fault> {
        if name.len() > NAME || self.foot.len() > DEPTH {
            return event.whole.value(json, sort);
        }
        let before = self.head.len();
        self.head.extend_from_slice(&[b"\"", name, b"\":"].concat());
        self.value(json, sort, event)?;
        self.head.truncate(before);
        Ok(())
    }

    fn value<'d>(&mut self, json: &mut Lexer<'d>, sort: Sort, event: &mut Event<'d>) -> Result<(), Fault> {
        match sort {
            Sort::Opaque | Sort::Logprobs => return event.whole.value(json, sort),
            Sort::Plain | Sort::Free | Sort::Input | Sort::Arguments | Sort::Url | Sort::Data => {}
        }
        let mut ahead = json.clone();
        match ahead.value()? {
            Value::String(raw) => self.piece(raw, sort, event),
            Value::Array => {
                while ahead.item()? {
                    self.nested((b"[", b"]"), |way| way.value(&mut ahead, sort, event))?;
                }
            }
            Value::Object => return self.object(json, event),
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
        *json = ahead;
        Ok(())
    }

    fn object<'d>(&mut self, json: &mut Lexer<'d>, event: &mut Event<'d>) -> Result<(), Fault> {
        let index = member(json.clone(), b"index")?.and_then(json::unsigned);
        json.value()?;
        let index = index.map_or_else(String::new, |index| format!("\"index\":{index},"));
        let open = format!("{{{index}");
        self.nested((open.as_bytes(), b"}"), |way| {
            while let Some(name) = json.member()? {
                let decoded = json::name(name);
                let sort = Sort::Plain.of(&decoded);
                if &*decoded == b"name" {
                    // Comes whole, and its readers want it so.
                    event.whole.value(json, sort)?;
                } else {
                    way.member(json, (name, sort), event)?;
                }
            }
            Ok(())
        })
    }

    fn nested(
        &mut self,
        (open, close): (&[u8], &[u8]),
        inner: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let before = (self.head.len(), self.foot.clone());
        self.head.extend_from_slice(open);
        self.foot = [close, &self.foot].concat();
        inner(self)?;
        self.head.truncate(before.0);
        self.foot = before.1;
        Ok(())
    }

    fn piece<'d>(&self, raw: &'d [u8], sort: Sort, event: &mut Event<'d>) {
        if raw.is_empty() {
            return;
        }
        event.pieces.push(Piece {
            key: Key {
                group: self.group,
                name: self.head.clone(),
            },
            raw,
            written: sort.written(),
            frame: Frame {
                outer: Rc::default(),
                head: [&self.head, &b"\""[..]].concat(),
                foot: [&b"\""[..], &self.foot].concat(),
            },
        });
    }
}

/// Anthropic's events: a content block's text, thoughts and tool input go on.
fn messages(data: &[u8]) -> Result<Event<'_>, Fault> {
    let mut event = Event::default();
    let kind = text_of(data, b"type")?;
    let group = member(Lexer::new(data), b"index")?
        .and_then(json::unsigned)
        .unwrap_or(0);
    event.closes = match &*json::name(kind) {
        b"content_block_stop" => Closes::Group(group),
        b"message_delta" | b"message_stop" | b"error" => Closes::All,
        _ => Closes::None,
    };
    let holder: &[u8] = match &*json::name(kind) {
        b"content_block_start" => b"content_block",
        b"content_block_delta" => b"delta",
        _ => b"",
    };
    let mut json = Lexer::new(data);
    json.value()?;
    while let Some(name) = json.member()? {
        let decoded = json::name(name);
        if &*decoded == holder {
            block(&mut json, group, &mut event)?;
        } else {
            event.whole.value(&mut json, Sort::Plain.of(&decoded))?;
        }
    }
    json.end()?;
    Ok(event)
}

/// The content of a member that is a string; empty for any other.
fn text_of<'d>(data: &'d [u8], name: &[u8]) -> Result<&'d [u8], Fault> {
    let value = member(Lexer::new(data), name)?.unwrap_or_default();
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    Ok(inner.unwrap_or_default())
}

fn block<'d>(json: &mut Lexer<'d>, group: u64, event: &mut Event<'d>) -> Result<(), Fault> {
    let value = json.value()?;
    if value != Value::Object {
        return json.finish(value);
    }
    while let Some(name) = json.member()? {
        let decoded = json::name(name);
        let sort = Sort::Plain.of(&decoded);
        let kind = match &*decoded {
            b"text" => "text_delta",
            b"thinking" => "thinking_delta",
            b"partial_json" => "input_json_delta",
            _ => {
                event.whole.value(json, sort)?;
                continue;
            }
        };
        let mut ahead = json.clone();
        let Value::String(raw) = ahead.value()? else {
            event.whole.value(json, sort)?;
            continue;
        };
        *json = ahead;
        if !raw.is_empty() {
            event
                .pieces
                .push(block_piece(group, (&decoded, kind), (raw, sort)));
        }
    }
    Ok(())
}

fn block_piece<'d>(group: u64, (name, kind): (&[u8], &str), (raw, sort): (&'d [u8], Sort)) -> Piece<'d> {
    let field = String::from_utf8_lossy(name);
    let head = format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{group},\
         \"delta\":{{\"type\":\"{kind}\",\"{field}\":\""
    );
    Piece {
        key: Key {
            group,
            name: name.to_vec(),
        },
        raw,
        written: sort.written(),
        frame: Frame {
            outer: Rc::default(),
            head: head.into_bytes(),
            foot: b"\"}}\n\n".to_vec(),
        },
    }
}

/// The Responses API's events: the `delta` of each kind goes on; all others hold whole texts, most of them once more.
fn responses(data: &[u8]) -> Result<Event<'_>, Fault> {
    let mut event = Event::default();
    let kind = text_of(data, b"type")?;
    let kind = json::name(kind);
    let number = |name| member(Lexer::new(data), name).map(|n| n.and_then(json::unsigned).unwrap_or(0));
    let group = number(b"output_index")?;
    event.closes = closed_by(&kind, group);
    let goes_on = kind.ends_with(b".delta") && !kind.ends_with(b"audio.delta");
    event.repeats = !goes_on;
    let part = [number(b"content_index")?, number(b"summary_index")?];
    let (mut json, mut scalars, mut raw) = (Lexer::new(data), Scalars::default(), &b""[..]);
    json.value()?;
    while let Some(name) = json.member()? {
        let decoded = json::name(name);
        let mut ahead = json.clone();
        match (&*decoded, ahead.value()?) {
            (b"delta", Value::String(piece)) if goes_on => {
                raw = piece;
                json = ahead;
            }
            (b"delta", Value::String(_)) => json = ahead,
            (other, _) => {
                scalars.add(name, json.clone().span()?);
                event.whole.value(&mut json, Sort::Plain.of(other))?;
            }
        }
    }
    json.end()?;
    if !raw.is_empty() {
        let json = kind.ends_with(b"arguments.delta");
        let sort = if json { Sort::Arguments } else { Sort::Plain };
        event
            .pieces
            .push(response_piece((group, part), (&kind, &scalars), (raw, sort)));
    }
    Ok(event)
}

fn closed_by(kind: &[u8], group: u64) -> Closes {
    match kind {
        b"response.completed" | b"response.incomplete" | b"response.failed" | b"error" => Closes::All,
        // One part of an item after the other: what of it is open has ended.
        kind if kind.ends_with(b".done") => Closes::Group(group),
        _ => Closes::None,
    }
}

fn response_piece<'d>(
    (group, part): (u64, [u64; 2]),
    (kind, scalars): (&[u8], &Scalars),
    (raw, sort): (&'d [u8], Sort),
) -> Piece<'d> {
    let event = [b"event: ", kind, b"\ndata: {"].concat();
    // The clients' library wants the member, which isn't repeated.
    let logprobs: &[u8] = if kind.ends_with(b"output_text.delta") {
        b"\"logprobs\":[],"
    } else {
        b""
    };
    Piece {
        key: Key {
            group,
            name: [kind, format!("{part:?}").as_bytes()].concat(),
        },
        raw,
        written: sort.written(),
        frame: Frame {
            outer: Rc::default(),
            head: [&*event, &scalars.0, logprobs, b"\"delta\":\""].concat(),
            foot: b"\"}\n\n".to_vec(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Event};

    /// An event of so many members that mean nothing, and as many pieces.
    fn wide(count: usize) -> String {
        let scalars: String = (0..count).map(|n| format!("\"x{n}\":{n},")).collect();
        let choice = r#"{"index":0,"delta":{"content":"a"}},"#.repeat(count);
        format!("{{{scalars}\"choices\":[{choice}{{}}]}}")
    }

    #[test]
    fn an_event_of_ones_own_repeats_what_stood_around_the_piece() {
        let data = br#"{"id":"c","choices":[{"index":1,"delta":{"content":"Hi"}}],"created":7,"o":{}}"#;
        let event = Event::of(Endpoint::ChatCompletions, data).unwrap();
        let own = event.pieces[0].frame.around(b"Ho");
        let expected = "data: {\"id\":\"c\",\"created\":7,\"choices\":[{\"index\":1,\"finish_reason\":null,\"delta\":{\"content\":\"Ho\"}}]}\n\n";
        assert_eq!(String::from_utf8(own).unwrap(), expected);
    }

    #[test]
    fn many_scalars_around_many_pieces_are_kept_once_and_bounded() {
        let data = wide(20_000);
        let event = Event::of(Endpoint::ChatCompletions, data.as_bytes()).unwrap();
        assert_eq!(event.pieces.len(), 20_000);
        let own: usize = event.pieces.iter().map(|piece| piece.frame.head.len()).sum();
        assert!(own < 2 * data.len(), "{own} bytes for {}", data.len());
        assert!(event.pieces[0].frame.outer.len() < 5000);
    }
}
