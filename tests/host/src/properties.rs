//! Properties that a test scripts, by path, for a whole proxy or for one request.
//!
//! Values are bytes as Envoy serializes them: text as it is, integers as eight bytes little-endian. `request.*` is there
//! in the request's callbacks and in the log, `response.*` and `upstream.*` from the response headers on.

use std::collections::BTreeMap;

/// Values by path; the parts of a path are joined by NUL, as on the ABI.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Properties {
    pub(crate) fn set(&mut self, path: &[&str], value: &[u8]) {
        self.values.insert(joined(path), value.to_vec());
    }

    pub(crate) fn get(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.values.get(path).cloned()
    }
}

/// The path as the ABI has it.
pub(crate) fn joined(path: &[&str]) -> Vec<u8> {
    path.join("\0").into_bytes()
}
