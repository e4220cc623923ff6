//! Shared counts of use: exact, bounded, and never forgiving a debt.
