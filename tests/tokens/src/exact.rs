//! The report on the exact counter: whether it agrees with the real tokenizers, and what it costs, natively and in a
//! module under wasmtime.

use crate::encoding;
use crate::module::Module;
use crate::search;
use spillway::tokens::exact::{Count, Counter, Encoding};
use spillway_token_fit::random::{Random, mixed_string};
use spillway_token_fit::timed::timed;
use spillway_token_fit::{corpus, hostile, mixture};
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

type Report = Result<String, Box<dyn Error>>;

/// Bytes of each sample of ordinary text.
const SAMPLE: usize = 1 << 20;
/// Bytes of each hostile input.
const HOSTILE: usize = 10 << 20;
const KINDS: [&str; 12] = [
    "chat", "en", "code", "json", "zh", "ja", "ko", "ru", "ar", "hi", "th", "emoji",
];

/// All of it, in Markdown.
pub fn table() -> Report {
    let mut module = Module::build()?;
    Ok([
        exactness()?,
        speed(&mut module)?,
        worst(&mut module)?,
        searched(&mut module)?,
        sizes()?,
    ]
    .concat())
}

fn exactness() -> Report {
    let texts = mixture::texts()?;
    let mut random = Random::new(2);
    let strings: Vec<String> = (0..100_000).map(|_| mixed_string(&mut random)).collect();
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    let mut table = format!(
        "## Exactness\n\n| encoding | texts ({:.1} MB) that differ | random strings (100,000) that differ | cuts not proved |\n|---|--:|--:|--:|\n",
        megabytes(bytes)
    );
    for reference in encoding::all()? {
        eprintln!("{}: comparing", reference.name);
        let encoding = Encoding::of(reference.tokenizer).ok_or("not built in")?;
        let mut counter = Counter::new();
        let mut differs = |text: &str| {
            let counted = counter.count(&[corpus::escape(text).as_bytes()], encoding, u64::MAX);
            counted != Count::Exactly(u64::from(reference.count(text)))
        };
        let of_texts = texts.iter().filter(|(_, text)| differs(text)).count();
        let of_strings = strings.iter().filter(|text| differs(text)).count();
        writeln!(
            table,
            "| {} | {of_texts} | {of_strings} | {} |",
            reference.name,
            counter.unproved_cuts()
        )?;
    }
    Ok(table)
}

/// A sample as it arrives (escaped), of the held-out texts of a kind.
fn sample(files: &[corpus::Text], kind: &str) -> Vec<u8> {
    let texts = files.iter().filter(|file| file.kind == kind);
    let joined: String = texts.map(|file| corpus::escape(&file.text)).collect();
    let cycled: Vec<u8> = joined
        .bytes()
        .cycle()
        .take(SAMPLE.min(joined.len() * 4))
        .collect();
    cycled
}

fn speed(module: &mut Module) -> Report {
    let mut files = corpus::load("fit")?;
    files.extend(corpus::load("held-out")?);
    let mut table = String::from(
        "\n## Speed on text\n\nMB/s of processor time, best of ten; the memo begins warm.\n\n| text | o200k native | o200k wasmtime | cl100k native | cl100k wasmtime |\n|---|--:|--:|--:|--:|\n",
    );
    for kind in KINDS {
        eprintln!("speed: {kind}");
        let text = sample(&files, kind);
        let cells = both(&text, module, 10)?.map(|time| format!("{:.0}", rate(text.len(), time)));
        writeln!(table, "| {kind} | {} |", cells.join(" | "))?;
    }
    Ok(table)
}

fn worst(module: &mut Module) -> Report {
    let mut table = String::from(
        "\n## Hostile inputs\n\n10 MiB each, once; MB/s of processor time, and by how much the module's memory has grown beyond the room for the text.\n\n| input | o200k native | o200k wasmtime | cl100k native | cl100k wasmtime | B |\n|---|--:|--:|--:|--:|--:|\n",
    );
    module.reserve(HOSTILE * 6 + 64)?;
    module.count(b"Hello there", Encoding::O200k)?;
    let before = module.memory();
    for (name, text) in hostile::inputs(HOSTILE) {
        eprintln!("hostile: {name}");
        let raw = corpus::escape(&text);
        let cells = both(raw.as_bytes(), module, 1)?.map(|time| format!("{:.0}", rate(raw.len(), time)));
        writeln!(
            table,
            "| {name} | {} | {} |",
            cells.join(" | "),
            module.memory() - before
        )?;
    }
    Ok(table)
}

fn searched(module: &mut Module) -> Report {
    let mut table = String::from(
        "\n## The slowest that a search finds\n\nRandom alphabets and patterns, mutated 300 times, the slowest kept.\n\n| | MB/s in wasmtime | what |\n|---|--:|---|\n",
    );
    for encoding in [Encoding::O200k, Encoding::Cl100k] {
        let found = search::slowest(module, encoding)?;
        writeln!(table, "| {encoding:?} | {:.1} | {} |", found.rate, found.what)?;
    }
    Ok(table)
}

fn sizes() -> Report {
    let mut module = Module::start()?;
    let fresh = module.memory();
    let first = module.count("Hello there".as_bytes(), Encoding::O200k)?;
    let used = module.memory();
    let classes = spillway_ranks::class::size();
    Ok(format!(
        "\n## Sizes\n\n| | |\n|---|--:|\n| table of o200k | {} B |\n| table of cl100k | {} B |\n| classes of characters, once | {classes} B |\n| memory of a module with both, new | {} KiB |\n| the same, after its first count | {} KiB |\n| first count, the counter made | {:.2} ms |\n",
        spillway_ranks::O200K.size(),
        spillway_ranks::CL100K.size(),
        fresh / 1024,
        used / 1024,
        first.as_secs_f64() * 1e3,
    ))
}

/// The least time of `rounds`: o200k natively and in the module, then cl100k.
fn both(text: &[u8], module: &mut Module, rounds: u32) -> Result<[Duration; 4], Box<dyn Error>> {
    let mut times = [Duration::MAX; 4];
    let mut counter = Counter::new();
    for _ in 0..rounds {
        for (times, encoding) in times
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .zip([Encoding::O200k, Encoding::Cl100k])
        {
            let native = timed(|| counter.count(&[text], encoding, u64::MAX));
            *times = [times[0].min(native), times[1].min(module.count(text, encoding)?)];
        }
    }
    Ok(times)
}

fn rate(bytes: usize, time: Duration) -> f64 {
    megabytes(bytes) / time.as_secs_f64()
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
