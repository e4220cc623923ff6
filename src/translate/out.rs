//! Writing JSON text in order, with values handed on as they were written.

use crate::json;

/// An object being written; [`object`] closes it.
#[derive(Debug)]
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    fresh: bool,
}

/// An array being written.
#[derive(Debug)]
pub(super) struct Array<'o> {
    out: &'o mut Vec<u8>,
    fresh: bool,
}

/// Appends an object with what `fill` puts into it.
pub(super) fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object { out, fresh: true });
    out.push(b'}');
}

/// An object as a text of its own.
pub(super) fn text(fill: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    object(&mut out, fill);
    out
}

impl Object<'_> {
    pub(super) fn text(&mut self, name: &str, value: &str) {
        json::push_string(self.name(name), value);
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name).extend_from_slice(value.to_string().as_bytes());
    }

    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        let word = if value { "true" } else { "false" };
        self.raw(name, word.as_bytes());
    }

    pub(super) fn null(&mut self, name: &str) {
        self.raw(name, b"null");
    }

    /// A value that is JSON text already.
    pub(super) fn raw(&mut self, name: &str, value: &[u8]) {
        self.name(name).extend_from_slice(value);
    }

    pub(super) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        object(self.name(name), fill);
    }

    pub(super) fn array(&mut self, name: &str, fill: impl FnOnce(&mut Array<'_>)) {
        let out = self.name(name);
        out.push(b'[');
        fill(&mut Array { out, fresh: true });
        out.push(b']');
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        separate(self.out, &mut self.fresh);
        json::push_string(self.out, name);
        self.out.push(b':');
        self.out
    }
}

impl Array<'_> {
    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        separate(self.out, &mut self.fresh);
        object(self.out, fill);
    }

    pub(super) fn text(&mut self, value: &str) {
        separate(self.out, &mut self.fresh);
        json::push_string(self.out, value);
    }
}

fn separate(out: &mut Vec<u8>, fresh: &mut bool) {
    if !core::mem::take(fresh) {
        out.push(b',');
    }
}
