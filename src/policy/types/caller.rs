//! Who asks.

/// One way to name a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerRule {
    /// The bearer token (or `x-api-key`) is one of the known keys.
    Bearer(Vec<KnownKey>),
    /// The value of a header (lower case) that something before this filter set or verified.
    Header(String),
    /// A claim of a token that the host verified, at this path of its dynamic metadata.
    Jwt {
        /// The path of the property: `metadata`, `filter_metadata`, the namespace, the payload's key if any, the claim.
        path: Vec<String>,
    },
}

/// A key that may call, by its SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The caller's name.
    pub name: String,
    /// SHA-256 of the key.
    pub digest: [u8; 32],
}

impl core::fmt::Debug for KnownKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KnownKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What becomes of callers whom no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// They are one caller together.
    #[default]
    Shared,
    /// 401.
    Reject,
}

/// An attribute of the request, from a trusted header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name in `per`.
    pub name: String,
    /// The header (lower case) it is read from.
    pub header: String,
    /// Its value when the header is missing.
    pub missing: String,
}
