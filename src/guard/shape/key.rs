//! API keys whose providers gave them a shape, and private keys in PEM (RFC 7468).

use crate::guard::text::{Text, alnum, base64url};

/// A provider's shape: what it begins with, and what follows.
struct Shape {
    prefix: &'static [u8],
    body: Body,
}

/// What follows a prefix.
#[derive(Clone, Copy)]
enum Body {
    /// Exactly so many capitals and digits.
    Capitals(usize),
    /// At least so many letters and digits.
    Letters(usize),
    /// At least so many of base64url and dots.
    Dashed(usize),
    /// At least so many of base64url, not all of them words: a run of 16 with a digit.
    Random(usize),
}

/// By the providers' documentation and what their own secret scanners look for.
const SHAPES: [Shape; 33] = [
    shape(b"sk-", Body::Random(20)),    // OpenAI, Anthropic, DeepSeek, OpenRouter
    shape(b"AKIA", Body::Capitals(16)), // AWS
    shape(b"ASIA", Body::Capitals(16)), // AWS, temporary
    shape(b"AIza", Body::Dashed(35)),   // Google
    shape(b"ghp_", Body::Letters(36)),  // GitHub
    shape(b"gho_", Body::Letters(36)),
    shape(b"ghu_", Body::Letters(36)),
    shape(b"ghs_", Body::Letters(36)),
    shape(b"ghr_", Body::Letters(36)),
    shape(b"github_pat_", Body::Dashed(40)),
    shape(b"xoxb-", Body::Random(20)), // Slack
    shape(b"xoxp-", Body::Random(20)),
    shape(b"xoxa-", Body::Random(20)),
    shape(b"xoxr-", Body::Random(20)),
    shape(b"xoxs-", Body::Random(20)),
    shape(b"xoxe-", Body::Random(20)),
    shape(b"xapp-", Body::Random(20)),
    shape(b"sk_live_", Body::Letters(20)), // Stripe
    shape(b"sk_test_", Body::Letters(20)),
    shape(b"rk_live_", Body::Letters(20)),
    shape(b"rk_test_", Body::Letters(20)),
    shape(b"whsec_", Body::Letters(24)),
    shape(b"glpat-", Body::Dashed(20)), // GitLab
    shape(b"gldt-", Body::Dashed(20)),
    shape(b"hf_", Body::Letters(30)), // Hugging Face
    shape(b"npm_", Body::Letters(36)),
    shape(b"gsk_", Body::Letters(40)), // Groq
    shape(b"xai-", Body::Letters(60)),
    shape(b"pplx-", Body::Letters(40)),
    shape(b"pypi-", Body::Dashed(60)),
    shape(b"GOCSPX-", Body::Dashed(24)), // Google OAuth
    shape(b"shpat_", Body::Letters(32)), // Shopify
    shape(b"glsa_", Body::Dashed(32)),   // Grafana
];

const fn shape(prefix: &'static [u8], body: Body) -> Shape {
    Shape { prefix, body }
}

/// A private key's first line is no longer.
const HEADER: usize = 48;

/// The longest prefix up to its first `-` or `_`.
pub(in crate::guard) const STEM: usize = 6;

/// Where the key ends that begins here.
pub(in crate::guard) fn at(text: Text<'_>, start: usize) -> Option<usize> {
    let (first, before) = (text.at(start), text.before(start));
    if alnum(before) || matches!(before, b'-' | b'_') {
        return None;
    }
    let mut alike = SHAPES.iter().filter(|shape| shape.prefix.first() == Some(&first));
    let shape = alike.find(|shape| text.has(start, shape.prefix))?;
    shape.body.end(text, start + shape.prefix.len())
}

/// Where the first line of a private key ends that begins with these hyphens.
pub(in crate::guard) fn private(text: Text<'_>, start: usize) -> Option<usize> {
    if !text.has(start, b"-----BEGIN ") {
        return None;
    }
    let words = start + 11;
    let end = text.run(words, HEADER, |b| b.is_ascii_uppercase() || b == b' ');
    let names = text.slice(words, end);
    let private = names.ends_with(b"PRIVATE KEY") || names.ends_with(b"PRIVATE KEY BLOCK");
    (private && text.has(end, b"-----")).then_some(end + 5)
}

impl Body {
    /// What may go on for ever with it.
    fn alphabet(self) -> fn(u8) -> bool {
        match self {
            Self::Capitals(_) | Self::Letters(_) => alnum,
            Self::Dashed(_) | Self::Random(_) => base64url,
        }
    }

    /// Where it ends, as far as 200 bytes tell.
    fn end(self, text: Text<'_>, from: usize) -> Option<usize> {
        let end = text.run(from, super::DECIDED, self.alphabet());
        let body = text.slice(from, end);
        let fits = match self {
            Self::Capitals(length) => {
                body.len() == length && body.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            }
            Self::Letters(least) | Self::Dashed(least) => body.len() >= least && varied(body),
            Self::Random(least) => body.len() >= least && varied(body) && random(body),
        };
        fits.then_some(end)
    }
}

/// Not a placeholder: more than a few different characters.
fn varied(body: &[u8]) -> bool {
    let seen = body.iter().fold(0u128, |seen, byte| seen | 1 << (byte & 0x7f));
    seen.count_ones() >= 8
}

/// Not words with hyphens: a long run with digits and letters.
fn random(body: &[u8]) -> bool {
    let mixed = |run: &[u8]| run.iter().any(u8::is_ascii_digit) && run.iter().any(u8::is_ascii_alphabetic);
    body.split(|b| matches!(b, b'-' | b'_'))
        .any(|run| run.len() >= 16 && mixed(run))
        || body.iter().filter(|b| b.is_ascii_digit()).count() >= 4 && body.iter().any(u8::is_ascii_uppercase)
}
