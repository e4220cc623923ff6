//! Translation between the protocols of providers, so that a request can go to a provider that speaks another one.
//!
//! ```text
//! request    client's bytes   → read → Conversation → write → provider's bytes
//! answer     provider's bytes → read → Reply        → write → client's bytes
//! stream     provider's event → read → Delta …      → write → client's events
//! ```
//!
//! There is a reader and a writer for each protocol and direction, never a converter between two of them. What the other
//! protocol has no place for is named in [`Translated::dropped`]; what would change the request's meaning makes it
//! [`Untranslatable`]. Names are fixed words, never values of a client's. Thoughts are never carried over: they are
//! signed by who thought them. All of it is linear in its input and takes memory in proportion to it.

mod chat;
mod conversation;
mod delta;
mod drops;
mod error;
mod gemini;
mod id;
mod media;
mod messages;
mod node;
mod out;
mod reply;
mod stream;
mod target;
mod turns;

#[cfg(test)]
mod tests;

use core::fmt;

pub use error::error;
pub use stream::{StreamOptions, StreamTranslator};
pub use target::{Target, headers, path};

use drops::Drops;
use node::Node;

/// A protocol that a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI chat completions.
    Chat,
    /// Anthropic messages.
    Messages,
    /// Gemini `generateContent`; providers speak it, clients don't.
    Gemini,
}

/// What a provider's model takes beyond what all of its protocol do. A model that doesn't take it refuses the request, so
/// what isn't accepted is dropped by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// `temperature`, `top_p`, `top_k`. Claude from Opus 4.7 on refuses them.
    pub sampling: bool,
    /// An effort of reasoning: `reasoning_effort`, `output_config.effort`, `thinkingConfig.thinkingLevel`.
    pub effort: bool,
    /// Of Anthropic's: a JSON schema for the output (`output_config.format`) and `strict` tools. Without, the schema goes as
    /// a forced tool.
    pub schema: bool,
}

impl Default for Accepts {
    fn default() -> Self {
        Self {
            sampling: true,
            effort: false,
            schema: false,
        }
    }
}

/// What a translated request needs to know beyond the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestOptions<'o> {
    /// The provider's name of the model.
    pub model: &'o str,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// `max_tokens` where the protocol requires one and the client gave none.
    pub default_max_tokens: u64,
    /// What the model takes.
    pub accepts: Accepts,
}

/// A body in the other protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The body.
    pub body: Vec<u8>,
    /// What couldn't be carried over or was changed, by its path in the client's protocol; each once, fit for a header.
    pub dropped: Vec<&'static str>,
}

/// What a translated answer says of itself beyond the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerOptions<'o> {
    /// The model that the client asked for.
    pub model: &'o str,
    /// What makes the answer's id unique; the protocol's prefix is put before it.
    pub id: &'o str,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

/// Why a body has no equal in the other protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untranslatable {
    /// The path of the field that is in the way; empty for the body as a whole.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for Untranslatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            "" => f.write_str(self.reason),
            field => write!(f, "{field}: {}", self.reason),
        }
    }
}

impl std::error::Error for Untranslatable {}

/// Rewrites a request for another protocol. Between the same ones it stays as it is, the model's name too.
///
/// # Errors
/// When the body can't be read, or asks for what the other protocol can't do.
pub fn request(
    from: Protocol,
    to: Protocol,
    body: &[u8],
    options: &RequestOptions<'_>,
) -> Result<Translated, Untranslatable> {
    if from == to {
        return Ok(Translated {
            body: body.to_vec(),
            dropped: Vec::new(),
        });
    }
    let mut drops = Drops::default();
    let node = Node::parse(body)?;
    let conversation = match from {
        Protocol::Chat => chat::request::read(node, &mut drops)?,
        Protocol::Messages => messages::request::read(node, &mut drops)?,
        Protocol::Gemini => return Err(NO_CLIENT),
    };
    let body = match to {
        Protocol::Chat => chat::prompt::write(conversation, options, &mut drops)?,
        Protocol::Messages => messages::prompt::write(conversation, options, &mut drops)?,
        Protocol::Gemini => gemini::prompt::write(conversation, options, &mut drops)?,
    };
    Ok(Translated {
        body,
        dropped: drops.named(),
    })
}

/// Rewrites a complete answer (2xx) of a provider that speaks `from` for a client that speaks `to`. Between the same ones
/// it stays as it is.
///
/// # Errors
/// When the body can't be read as an answer, or can't be said in the client's protocol.
pub fn answer(
    from: Protocol,
    to: Protocol,
    body: &[u8],
    options: &AnswerOptions<'_>,
) -> Result<Vec<u8>, Untranslatable> {
    if from == to {
        return Ok(body.to_vec());
    }
    let node = Node::parse(body)?;
    let reply = match from {
        Protocol::Chat => chat::answer::read(node)?,
        Protocol::Messages => messages::answer::read(node)?,
        Protocol::Gemini => gemini::answer::read(node, options.id)?,
    };
    match to {
        Protocol::Chat => Ok(chat::reply::write(&reply, options)),
        Protocol::Messages => Ok(messages::reply::write(&reply, options)),
        Protocol::Gemini => Err(NO_CLIENT),
    }
}

const NO_CLIENT: Untranslatable = Untranslatable {
    field: "",
    reason: "Gemini's protocol is spoken to providers only",
};
