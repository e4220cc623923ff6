//! The exact counter counts what the reference counts, whatever the text; never more than it was asked to; and depends on
//! nothing of the reference.

use spillway::json;
use spillway::policy::Tokenizer;
use spillway::tokens::exact::{Count, Counter, Encoding};
use spillway_token_fit::random::{Random, mixed_string};
use spillway_token_fit::timed::timed;
use spillway_token_fit::{corpus, encoding, hostile, mixture};
use std::time::Duration;

/// Counts `text` as it stands in a JSON string, and where it lies if that is the same.
fn counted(counter: &mut Counter, text: &str, encoding: Encoding) -> u64 {
    let escaped = corpus::escape(text);
    exactly(counter.count(&[escaped.as_bytes()], encoding, u64::MAX))
}

fn exactly(count: Count) -> u64 {
    match count {
        Count::Exactly(tokens) => tokens,
        Count::Over => panic!("no limit was set"),
    }
}

/// Holds the counter to the reference on `texts`; answers their bytes.
fn hold(texts: &[(String, String)], reference: &encoding::Encoding) -> usize {
    let encoding = Encoding::of(reference.tokenizer).expect("both tables are built in");
    let mut counter = Counter::new();
    let differ: Vec<_> = texts
        .iter()
        .map(|(name, text)| {
            (
                name,
                counted(&mut counter, text, encoding),
                u64::from(reference.count(text)),
                text,
            )
        })
        .filter(|(_, counted, reference, _)| counted != reference)
        .map(|(name, counted, reference, text)| {
            (
                name,
                counted,
                reference,
                text.chars().take(200).collect::<String>(),
            )
        })
        .collect();
    assert!(
        differ.is_empty(),
        "{}: {} differ, the first: {:?}",
        reference.name,
        differ.len(),
        differ.first()
    );
    assert_eq!(counter.unproved_cuts(), 0);
    texts.iter().map(|(_, text)| text.len()).sum()
}

/// One thread for each encoding.
fn hold_both(texts: &[(String, String)]) -> usize {
    let references = encoding::all().unwrap();
    let bytes = std::thread::scope(|scope| {
        let threads = references
            .each_ref()
            .map(|reference| scope.spawn(|| hold(texts, reference)));
        threads.map(|thread| thread.join().unwrap())
    });
    bytes[0]
}

#[test]
fn megabytes_of_every_kind_of_text_count_as_in_the_reference() {
    assert!(hold_both(&mixture::texts().unwrap()) > 5_000_000);
}

#[test]
fn a_hundred_thousand_random_strings_count_as_in_the_reference() {
    let mut random = Random::new(2);
    let strings: Vec<_> = (0..100_000)
        .map(|index| (format!("string {index}"), mixed_string(&mut random)))
        .collect();
    hold_both(&strings);
}

#[test]
fn long_pretokens_count_as_in_the_reference() {
    let short = |(name, text): (&str, String)| (name.to_owned(), text);
    hold_both(&hostile::inputs(5000).map(short).collect::<Vec<_>>());
}

#[test]
fn what_can_not_be_decoded_counts_as_the_characters_it_is_read_as() {
    let pieces: [&[u8]; 16] = [
        b"\\n",
        b"\\u00e9",
        b"\\ud83d\\ude00",
        b"\\ud83d",
        b"\\u12",
        b"\\q",
        b"\\\xc3",
        b"\\",
        b"\xff",
        b"\xe2\x80",
        b"\xc3\xa9",
        b"abc ",
        b"\\u0020",
        "字".as_bytes(),
        b"  ",
        b"\\/",
    ];
    let mut random = Random::new(3);
    let mut counter = Counter::new();
    for _ in 0..5000 {
        let raw: Vec<u8> = (0..random.below(12))
            .flat_map(|_| *random.one(&pieces))
            .copied()
            .collect();
        let text: String = json::chars(&raw).collect();
        let plain = counted(&mut counter, &text, Encoding::O200k);
        assert_eq!(
            exactly(counter.count(&[&raw], Encoding::O200k, u64::MAX)),
            plain,
            "{raw:?}"
        );
    }
}

#[test]
fn a_text_longer_than_the_scratch_counts_as_its_lines_do() {
    let text = mixture::texts().unwrap().swap_remove(0).1;
    let long: String = text.chars().cycle().take(300_000).collect();
    let mut counter = Counter::new();
    let plain = exactly(counter.count(&[long.as_bytes()], Encoding::O200k, u64::MAX));
    assert_eq!(counted(&mut counter, &long, Encoding::O200k), plain);
}

#[test]
fn each_text_is_encoded_on_its_own() {
    let mut counter = Counter::new();
    let mut count = |texts: &[&[u8]]| exactly(counter.count(texts, Encoding::O200k, u64::MAX));
    assert_eq!((count(&[b"hel", b"lo"]), count(&[b"hello"])), (2, 1));
    assert_eq!((count(&[]), count(&[b""])), (0, 0));
}

#[test]
fn the_limit_is_the_last_number_that_is_told() {
    let mut counter = Counter::new();
    for (name, text) in hostile::inputs(3000) {
        let raw = corpus::escape(&text);
        for encoding in [Encoding::O200k, Encoding::Cl100k] {
            let all = exactly(counter.count(&[raw.as_bytes()], encoding, u64::MAX));
            assert_eq!(
                counter.count(&[raw.as_bytes()], encoding, all),
                Count::Exactly(all),
                "{name}"
            );
            for limit in [all - 1, all / 2, 1, 0] {
                assert_eq!(
                    counter.count(&[raw.as_bytes()], encoding, limit),
                    Count::Over,
                    "{name}, {limit}"
                );
            }
        }
    }
}

#[test]
fn a_small_limit_ends_the_count_of_a_huge_text_at_once() {
    let mut counter = Counter::new();
    for (name, text) in hostile::inputs(1 << 20) {
        let took = timed(|| {
            let count = counter.count(&[text.as_bytes()], Encoding::O200k, 1000);
            assert_eq!(count, Count::Over, "{name}");
        });
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
    }
}

#[test]
fn time_grows_with_the_bytes_whatever_they_are() {
    let mut counter = Counter::new();
    for (name, text) in hostile::inputs(1 << 17) {
        let raw = corpus::escape(&text);
        let took = timed(|| exactly(counter.count(&[raw.as_bytes()], Encoding::O200k, u64::MAX)));
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
}

#[test]
fn only_public_encodings_have_a_counter() {
    assert_eq!(Encoding::of(Tokenizer::Estimate), None);
    assert_eq!(Encoding::of(Tokenizer::O200k), Some(Encoding::O200k));
    assert_eq!(Encoding::of(Tokenizer::Cl100k), Some(Encoding::Cl100k));
}

#[test]
fn nothing_of_the_reference_is_linked_into_the_module() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "-p",
            "spillway",
            "-e",
            "normal",
            "--target",
            "wasm32-wasip1",
            "--prefix",
            "none",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let crates = String::from_utf8(tree.stdout).unwrap();
    assert!(
        crates.contains("spillway-ranks"),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    assert!(!crates.contains("tiktoken"), "{crates}");
}
