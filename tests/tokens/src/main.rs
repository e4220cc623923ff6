//! `fit` writes `src/tokens/coefficients.rs` from `tests/tokens/fit`; `report` prints how far off the estimate is on
//! `tests/tokens/held-out`, whose texts come from other sources and which `fit` never opens; `tune` compares strengths of
//! regularization by cross-validation inside the fitting set; `cost` measures the time of an estimate; `published` compares
//! the formulas for what isn't text with every published count; `exact` holds the exact counter to the real tokenizers, and
//! measures it natively and in a module under wasmtime.

mod cost;
mod exact;
mod fit;
mod module;
mod published;
mod report;
mod rows;
mod search;
mod solve;
mod write;

use spillway_token_fit::{corpus, encoding};
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let answer = match std::env::args().nth(1).as_deref() {
        Some("fit") => write_coefficients()?,
        Some("report") => report::table()?,
        Some("cost") => cost::table()?,
        Some("tune") => fit::tune()?,
        Some("published") => published::table()?,
        Some("exact") => exact::table()?,
        _ => return Err("one of: fit, report, cost, tune, published, exact".into()),
    };
    print!("{answer}");
    Ok(())
}

fn write_coefficients() -> Result<String, Box<dyn Error>> {
    std::fs::write(coefficients(), fit::file()?)?;
    Ok("wrote src/tokens/coefficients.rs; `report` now measures it\n".into())
}

fn coefficients() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../src/tokens/coefficients.rs")
}
