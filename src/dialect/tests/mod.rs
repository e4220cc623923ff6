//! The dialects against the samples of `tests/samples`, whole and cut at every point, and against tables of requests.

use super::{Answer, Endpoint, Usage};

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/samples/", $name))
    };
}

mod alike;
mod amendments;
mod bodies;
mod gemini;
mod prompts;
mod requests;
mod rewrites;
mod streams;

fn usage(input: u64, output: u64, cached_input: u64, reasoning: u64) -> Option<Usage> {
    Some(Usage {
        input,
        output,
        cached_input,
        cache_write: 0,
        reasoning,
    })
}

fn text(said: &str) -> Answer {
    Answer::Text(said.to_owned())
}

#[test]
fn paths_name_endpoints_with_and_without_version() {
    let of = |path: &str| Endpoint::of(b"POST", path.as_bytes());
    assert_eq!(of("/v1/chat/completions"), Some(Endpoint::ChatCompletions));
    assert_eq!(
        of("/chat/completions?api-version=1"),
        Some(Endpoint::ChatCompletions)
    );
    assert_eq!(of("/v1/completions/"), Some(Endpoint::Completions));
    assert_eq!(of("/v1/embeddings"), Some(Endpoint::Embeddings));
    assert_eq!(of("/v1/responses"), Some(Endpoint::Responses));
    assert_eq!(of("/v1/messages?beta=true"), Some(Endpoint::Messages));
    for other in [
        "",
        "/",
        "/v1",
        "/v1/models",
        "/v1/messages/count_tokens",
        "/x/v1/messages",
        "/v1/responses/resp_1",
    ] {
        assert_eq!(of(other), None, "{other}");
    }
    assert_eq!(Endpoint::of(b"GET", b"/v1/chat/completions"), None);
}

/// Xorshift: the same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// One to three bytes replaced, taken out or put in, mostly by what has a meaning.
    fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let byte = b"\r\n\n{}[]\",:\\-1e. \xff\x00ntd"[self.below(21)];
            match self.below(3) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    }
}
