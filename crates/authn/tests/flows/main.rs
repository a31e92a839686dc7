//! What the sign-in service promises, asked through its public face over a store in memory.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod assertions;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod handoffs;
#[cfg(test)]
mod house;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod links;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod revocations;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod starts;
#[cfg(test)]
mod tokens;
