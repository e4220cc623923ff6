//! The policy as the rest of the program knows it: validated, so that nothing after loading can be invalid.
//!
//! Built from the document by [`load`](super::load); indices between its tables are always in range.

mod answer;
mod caller;
mod limit;
mod provider;
mod route;

pub use answer::*;
pub use caller::*;
pub use limit::*;
pub use provider::*;
pub use route::*;

use crate::policy::moderation::{Moderation, Review};

/// Whether a decision binds or is only counted and reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The decision binds.
    #[default]
    Enforce,
    /// Decided, counted, reported, not enforced.
    Shadow,
}

/// Everything an operator decided.
#[derive(Debug)]
pub struct Policy {
    /// For every decision; a limit's or a rule's own mode can only soften it.
    pub mode: Mode,
    /// What the host's settings allow.
    pub host: Host,
    /// How callers are named, in order: the first that is present decides.
    pub callers: Vec<CallerRule>,
    /// What becomes of those whom no rule names.
    pub anonymous: Anonymous,
    /// Attributes of the request that limits may count by.
    pub attributes: Vec<Attribute>,
    /// Providers, in the order of their names.
    pub providers: Vec<Provider>,
    /// What clients may ask for, in the order of the names, `*` apart.
    pub models: Vec<ModelRoute>,
    /// Where a model goes that no entry names.
    pub any_model: Option<ModelRoute>,
    /// The callers' limits. Providers' own limits stand with the provider.
    pub limits: Vec<Limit>,
    /// Which answers must match which schema; the first rule that applies decides.
    pub validate: Vec<Validation>,
    /// What is looked for in texts; all that apply do.
    pub guards: Vec<Guard>,
    /// Who outside is asked about texts; each that applies is.
    pub moderation: Vec<Moderation>,
    /// Who looks at exchanges afterwards.
    pub review: Option<Review>,
    /// How many (limit, key) pairs the ledger tells apart; its memory is 64 B each.
    pub tracked_keys: u32,
    /// The bounds of what is buffered.
    pub bounds: Bounds,
    /// What becomes of a request whose body is encoded (gzip, br, …).
    pub on_encoded: OnUnreadable,
    /// What becomes of a request whose body is over its bound.
    pub on_oversize: OnUnreadable,
    /// What becomes of a request or an answer that guards can't look at and might have to change or stop.
    pub on_unguarded: OnUnreadable,
    /// Failing over inside one request, for models that say nothing else; each [`ModelRoute`] has its own.
    pub failover: Failover,
    /// Where a fleet of proxies counts together.
    pub fleet: Fleet,
}

/// What the host's settings allow; the filter can't see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The headers may be held until the body has been judged (`allow_on_headers_stop_iteration`).
    pub body_pause: bool,
    /// Lower-case header that names the model when the body can't choose the route (`body_pause: false`).
    pub model_header: Option<String>,
}

/// Bounds of what is buffered or counted, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Request body; 10 MiB.
    pub request_body: usize,
    /// Answer gathered for validation; 2 MiB.
    pub response_body: usize,
    /// One line of an event stream; 1 MiB.
    pub sse_line: usize,
    /// Texts of a prompt that are counted exactly; longer ones are estimated; 256 KiB.
    pub exact_count: usize,
}

/// What becomes of a body that can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnreadable {
    /// 415 or 413.
    #[default]
    Reject,
    /// Passed on uncounted, and counted as such.
    Pass,
}
