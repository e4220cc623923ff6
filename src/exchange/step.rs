//! What the core may ask the shell to do.

use std::borrow::Cow;

use super::callout::Call;

/// A change to the headers that are at hand in this callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Sets a header, replacing all its values.
    Set(Cow<'static, str>, Cow<'static, str>),
    /// Removes a header, whatever bytes its name has.
    Remove(Vec<u8>),
}

impl Edit {
    /// Sets a header.
    pub fn set(name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        Self::Set(name.into(), value.into())
    }

    /// Removes a header.
    pub fn remove(name: impl AsRef<[u8]>) -> Self {
        Self::Remove(name.as_ref().to_vec())
    }
}

/// An answer of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, the content type among them.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// The body.
    pub body: Vec<u8>,
    /// For the host's `response_code_details`.
    pub details: &'static str,
}

impl Reply {
    /// The reply with the headers that these edits would have set.
    #[must_use]
    pub fn with(mut self, edits: &[Edit]) -> Self {
        let set = edits.iter().filter_map(|edit| match edit {
            Edit::Set(name, value) if !name.starts_with(':') => Some((name.clone(), value.clone())),
            Edit::Set(..) | Edit::Remove(_) => None,
        });
        self.headers.extend(set);
        self
    }
}

/// How the stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// On to the next filter.
    Continue,
    /// Waits, buffered, for more.
    Hold,
    /// Waits, while these calls are made, at once: each one's answer goes to [`super::Exchange::called`].
    Calls(Vec<Call>),
    /// What was held while a call was under way goes on, out of turn.
    Resume(Resume),
    /// Ends here with an answer of ours.
    Reply(Reply),
}

/// What goes on after it was held for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Which way it goes.
    pub way: Way,
    /// How many bytes of its body the host holds.
    pub held: usize,
}

/// The ways of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the provider.
    Request,
    /// To the client.
    Response,
}

/// What the shell does after a callback: the edits, then the body, then the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Changes to the headers.
    pub edits: Vec<Edit>,
    /// What replaces all of the buffered body.
    pub body: Option<Vec<u8>>,
    /// How it goes on.
    pub flow: Flow,
}

impl Step {
    /// Goes on, unchanged.
    #[must_use]
    pub fn pass() -> Self {
        Self::edited(Vec::new())
    }

    /// Goes on with these edits.
    #[must_use]
    pub fn edited(edits: Vec<Edit>) -> Self {
        Self {
            edits,
            body: None,
            flow: Flow::Continue,
        }
    }

    /// What comes after it, when both are done at once.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        self.edits.extend(next.edits);
        Self {
            edits: self.edits,
            body: next.body.or(self.body),
            flow: next.flow,
        }
    }

    /// Waits for more.
    #[must_use]
    pub fn hold() -> Self {
        Self {
            edits: Vec::new(),
            body: None,
            flow: Flow::Hold,
        }
    }

    /// Goes on with another body.
    #[must_use]
    pub fn replaced(body: Vec<u8>) -> Self {
        Self {
            edits: Vec::new(),
            body: Some(body),
            flow: Flow::Continue,
        }
    }

    /// Ends here.
    #[must_use]
    pub fn reply(reply: Reply) -> Self {
        Self {
            edits: Vec::new(),
            body: None,
            flow: Flow::Reply(reply),
        }
    }
}

/// A body as the host holds it at this moment: all that is buffered, which is this chunk alone unless the stream is
/// held.
pub struct Body<'a> {
    /// How many bytes there are.
    pub size: usize,
    /// Whether nothing follows.
    pub end: bool,
    /// Reads bytes from a position on; empty when the host has none.
    pub read: &'a dyn Fn(usize, usize) -> Vec<u8>,
}

impl Body<'_> {
    /// The bytes from a position on.
    #[must_use]
    pub fn from(&self, start: usize) -> Vec<u8> {
        let more = self.size.saturating_sub(start);
        if more == 0 {
            Vec::new()
        } else {
            (self.read)(start, more)
        }
    }

    /// All bytes.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        if self.size == 0 {
            Vec::new()
        } else {
            (self.read)(0, self.size)
        }
    }
}
