//! How fast clean text passes: `cargo test --release --lib guard::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::all;
use crate::guard::{StreamGuard, Watch};
use crate::policy::Side;

#[test]
#[ignore = "a measurement: for optimized builds"]
fn clean_text_passes_at_a_hundred_megabytes_a_second() {
    let plan = all("mask", Side::Request);
    let texts = [
        (
            "prose",
            "The keeper rowed back, as he always did, before the wind turned; nobody saw him. ",
        ),
        (
            "code",
            "fn main() { let x = a.b(c)?; println!(\"{}: {}\", x, map[\"k-1\"]); } // see #12\n",
        ),
        (
            "numbers",
            "2026-11-21 10:00:01 INFO took 12.5 ms, id 8f14e45f-ceea-467f-a8f1, v1.2.3\n",
        ),
    ];
    for (name, unit) in texts {
        let text = unit.repeat((8 << 20) / unit.len());
        let began = Instant::now();
        assert_eq!(Watch::default().mask(&plan, text.as_bytes()), None);
        let whole = text.len() as f64 / began.elapsed().as_secs_f64() / 1e6;
        let (mut guard, mut watch) = (StreamGuard::new(), Watch::default());
        let began = Instant::now();
        let pieces = text.as_bytes().chunks(5).take(200_000);
        let count = pieces
            .map(|piece| guard.push(&plan, &mut watch, piece).len())
            .count();
        let each = began.elapsed().as_secs_f64() / count as f64 * 1e9;
        println!("{name}: {whole:.0} MB/s whole; {each:.0} ns for a piece of 5 bytes");
    }
}
