//! `fit` writes `src/tokens/coefficients.rs` from `tests/tokens/fit`; `report` prints how far off the estimate is on
//! `tests/tokens/held-out`, whose texts come from other sources and which `fit` never opens; `tune` compares strengths of
//! regularization by cross-validation inside the fitting set; `cost` measures the time of an estimate.

mod corpus;
mod cost;
mod encoding;
mod fit;
mod report;
mod rows;
mod solve;
mod write;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("fit") => {
            std::fs::write(coefficients(), fit::file()?)?;
            eprintln!("wrote src/tokens/coefficients.rs; now run `report`");
            Ok(())
        }
        Some("report") => Ok(print!("{}", report::table()?)),
        Some("cost") => {
            print!("{}", cost::table()?);
            Ok(())
        }
        Some("tune") => Ok(print!("{}", fit::tune()?)),
        _ => Err("one of: fit, report, cost, tune".into()),
    }
}

fn coefficients() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../src/tokens/coefficients.rs")
}
