//! Server-sent events (WHATWG HTML, section 9.2), parsed as they pass.
