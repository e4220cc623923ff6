//! Ridge regression towards a prior, on relative error, with bounds: coordinate descent over the normal equations.

use crate::rows::Row;

/// A feature's place in the regression.
#[derive(Clone, Copy)]
pub struct Slot {
    /// Where its weight is drawn to.
    pub prior: f64,
    /// How strongly.
    pub pull: f64,
    /// The least it may be.
    pub least: f64,
}

/// Sweeps over all features; the changes are far below one part of a token by then.
const SWEEPS: usize = 400;

/// Minimizes Σ rows weight · (Σ count·w / tokens − 1)² + Σ features pull · (w − prior)², each w ≥ its least.
/// `map` says which slot a feature's counts go to.
pub fn solve(rows: &[Row], slots: &[Slot], map: impl Fn(usize) -> Option<usize>) -> Vec<f64> {
    let size = slots.len();
    let mut gram = vec![0.0; size * size];
    let mut target = vec![0.0; size];
    for row in rows.iter().filter(|row| row.tokens > 0.0) {
        let scaled = scaled(row, size, &map);
        for (i, x) in &scaled {
            target[*i] += row.weight * x;
            for (j, y) in &scaled {
                gram[i * size + j] += row.weight * x * y;
            }
        }
    }
    descend(&gram, &target, slots)
}

fn scaled(row: &Row, size: usize, map: impl Fn(usize) -> Option<usize>) -> Vec<(usize, f64)> {
    let mut dense = vec![0.0; size];
    for (feature, count) in &row.counts {
        if let Some(slot) = map(*feature) {
            dense[slot] += count / row.tokens;
        }
    }
    dense.into_iter().enumerate().filter(|(_, x)| *x != 0.0).collect()
}

fn descend(gram: &[f64], target: &[f64], slots: &[Slot]) -> Vec<f64> {
    let size = slots.len();
    let mut weights: Vec<f64> = slots.iter().map(|slot| slot.prior).collect();
    for _ in 0..SWEEPS {
        for (i, slot) in slots.iter().enumerate() {
            let line = &gram[i * size..(i + 1) * size];
            let others: f64 =
                line.iter().zip(&weights).map(|(g, w)| g * w).sum::<f64>() - line[i] * weights[i];
            let free = (target[i] - others + slot.pull * slot.prior) / (line[i] + slot.pull);
            weights[i] = free.max(slot.least);
        }
    }
    weights
}
