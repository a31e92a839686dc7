//! Whom a provider knows.

use serde_json::{Map, Value, json};

/// A person at a provider, by the name that the cookie `person` holds.
#[derive(Clone, Debug)]
pub struct Person {
    /// What the cookie says.
    pub name: String,
    /// `sub`
    pub sub: String,
    /// Every other claim.
    pub claims: Map<String, Value>,
}

impl Person {
    /// `sub-of-NAME`, `NAME@example.test` (verified), `preferred_username` NAME, `name` "NAME
    /// of the provider", no groups.
    pub fn new(name: &str) -> Self {
        let claims = json!({
            "email": format!("{name}@example.test"),
            "email_verified": true,
            "preferred_username": name,
            "name": format!("{name} of the provider"),
        });
        let Value::Object(claims) = claims else { unreachable!("an object was written") };
        Self { name: name.to_owned(), sub: format!("sub-of-{name}"), claims }
    }

    /// With another `sub`.
    #[must_use]
    pub fn subject(mut self, sub: &str) -> Self {
        sub.clone_into(&mut self.sub);
        self
    }

    /// With a claim: `email_verified`, `amr`, `acr`, `hd`, anything.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Without a claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// With the claim `groups`.
    #[must_use]
    pub fn groups(self, groups: &[&str]) -> Self {
        self.claim("groups", json!(groups))
    }

    /// With another address, and whether it is verified.
    #[must_use]
    pub fn email(self, address: &str, verified: impl Into<Value>) -> Self {
        self.claim("email", address).claim("email_verified", verified)
    }

    pub(super) fn add_to(&self, claims: &mut Value) {
        if let Some(members) = claims.as_object_mut() {
            members.extend(self.claims.clone());
        }
    }
}
