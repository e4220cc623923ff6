//! What an estimate costs in time, natively.

use crate::corpus;
use spillway::policy::Tokenizer;
use spillway::tokens::text_tokens;
use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Texts of several scripts, and sizes below, at and far above the sampling budget.
const KINDS: [&str; 5] = ["en", "code", "ru", "zh", "emoji"];
const SIZES: [usize; 4] = [1 << 10, 4 << 10, 32 << 10, 1 << 20];

/// Times in microseconds, by kind of text and size in bytes, in Markdown.
pub fn table() -> Result<String, Box<dyn Error>> {
    let texts = corpus::load("held-out")?;
    let mut table = String::from("| µs | 1 KiB | 4 KiB | 32 KiB | 1 MiB |\n|---|--:|--:|--:|--:|\n");
    for kind in KINDS {
        let joined: String = texts
            .iter()
            .filter(|text| text.kind == kind)
            .map(|text| corpus::escape(&text.text))
            .collect();
        let all: Vec<u8> = joined.bytes().cycle().take(1 << 20).collect();
        let cells: Vec<String> = SIZES
            .iter()
            .map(|size| format!("{:.1}", micros(least(&all, *size))))
            .collect();
        writeln!(table, "| {kind} | {} |", cells.join(" | "))?;
    }
    Ok(table)
}

/// The least mean over many different texts in turn, so that the processor can't learn any of them by heart.
fn least(all: &[u8], size: usize) -> Duration {
    let rounds = (0..30).map(|_| {
        let pieces = all.chunks_exact(size);
        let count = u32::try_from(pieces.len()).unwrap_or(1);
        let started = Instant::now();
        for piece in pieces {
            black_box(text_tokens(black_box(&[piece]), Tokenizer::O200k));
        }
        started.elapsed() / count
    });
    rounds.min().unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
