//! What the sign-in service promises, asked through its public face over a store in memory.

mod accounts;
mod assertions;
mod handoffs;
mod house;
mod keys;
mod logins;
mod memory;
mod reading;
mod revocations;
mod sessions;
mod starts;
mod tokens;
