//! Copies of the store: making, keeping and restoring them.
