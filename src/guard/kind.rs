//! What guards look for.

/// A sort of personal data or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An e-mail address (RFC 5321, as people write them).
    Email,
    /// A phone number with its country code (E.164).
    Phone,
    /// A payment card's number (ISO/IEC 7812).
    Card,
    /// A bank account (ISO 13616).
    Iban,
    /// A US social security number.
    Ssn,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A key of a known provider's shape, or a private key in PEM.
    ApiKey,
    /// A signed or encrypted token (RFC 7519).
    Jwt,
    /// What one of the policy's patterns matches.
    Pattern,
    /// One of the policy's words.
    Word,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// Those that a policy chooses by name; the others come with its own patterns and words.
    pub const NAMED: [Self; 8] = [
        Self::Email,
        Self::Phone,
        Self::Card,
        Self::Iban,
        Self::Ssn,
        Self::Ip,
        Self::ApiKey,
        Self::Jwt,
    ];

    /// Its name in policies, metrics and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ssn => "ssn",
            Self::Ip => "ip",
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::Pattern => "pattern",
            Self::Word => "word",
        }
    }

    /// Its name in placeholders.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
            Self::Card => "CARD",
            Self::Iban => "IBAN",
            Self::Ssn => "SSN",
            Self::Ip => "IP",
            Self::ApiKey => "API_KEY",
            Self::Jwt => "JWT",
            Self::Pattern => "PATTERN",
            Self::Word => "WORD",
        }
    }

    /// The kind that a placeholder's label names.
    pub(super) fn of_label(label: &[u8]) -> Option<Self> {
        let all = Self::NAMED.into_iter().chain([Self::Pattern, Self::Word]);
        all.into_iter().find(|kind| kind.label().as_bytes() == label)
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// Whether it is in the set.
    #[must_use]
    pub fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// The set with this kind.
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        Self(self.0 | kind.bit())
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::default(), Self::with)
    }
}
