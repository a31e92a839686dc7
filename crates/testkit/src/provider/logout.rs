//! Logout tokens (OpenID Connect Back-Channel Logout 1.0) as a provider sends them, and every
//! way in which one can be wrong.

use serde_json::{Map, Value, json};

use super::Op;
use crate::jose::{b64, hs256, random_text, unsigned};
use crate::service::now;

/// The one event of a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// One way in which a logout token is wrong. All of them must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogoutMutant {
    /// `aud` is another client.
    AudWrong,
    /// No `aud`.
    AudMissing,
    /// The event is `true`.
    EventNotObject,
    /// `events` is a list.
    EventsArray,
    /// No `events`.
    EventsMissing,
    /// `events` names another event.
    EventsWrong,
    /// `exp` was five minutes ago.
    Expired,
    /// HS256 with the client secret.
    Hs256ClientSecret,
    /// `iat` is in ten minutes.
    IatFuture,
    /// No `iat`.
    IatMissing,
    /// `iat` is a string.
    IatString,
    /// No `iss`.
    IssMissing,
    /// `iss` is another.
    IssWrong,
    /// `jti` is empty.
    JtiEmpty,
    /// No `jti`.
    JtiMissing,
    /// `jti` is a number.
    JtiNumber,
    /// A `kid` of no key set; a stranger's key.
    KidUnknown,
    /// Neither `sub` nor `sid`.
    NobodyNamed,
    /// A `nonce`.
    NoncePresent,
    /// The payload is a list.
    PayloadArray,
    /// A stranger's key under the right `kid`.
    SigOfStranger,
    /// Without a signature.
    SigNone,
    /// `sid` is a number, and no `sub`.
    SidNumber,
    /// `sub` is empty, and no `sid`.
    SubEmpty,
    /// `typ` is that of an access token.
    TypAccessToken,
    /// `typ` is `JWT`.
    TypJwt,
    /// No `typ`.
    TypMissing,
}

impl LogoutMutant {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::AudWrong,
        Self::AudMissing,
        Self::EventNotObject,
        Self::EventsArray,
        Self::EventsMissing,
        Self::EventsWrong,
        Self::Expired,
        Self::Hs256ClientSecret,
        Self::IatFuture,
        Self::IatMissing,
        Self::IatString,
        Self::IssMissing,
        Self::IssWrong,
        Self::JtiEmpty,
        Self::JtiMissing,
        Self::JtiNumber,
        Self::KidUnknown,
        Self::NobodyNamed,
        Self::NoncePresent,
        Self::PayloadArray,
        Self::SigOfStranger,
        Self::SigNone,
        Self::SidNumber,
        Self::SubEmpty,
        Self::TypAccessToken,
        Self::TypJwt,
        Self::TypMissing,
    ];
}

impl Op {
    /// A good logout token; every one has a `jti` of its own.
    pub fn logout_token(&self, sub: Option<&str>, sid: Option<&str>) -> String {
        let header = json!({ "alg": self.key().alg(), "kid": self.key().kid, "typ": "logout+jwt" });
        self.key().jwt_with(&header, &self.logout_claims(sub, sid))
    }

    /// A logout token that is wrong in one way.
    pub fn forged_logout_token(
        &self,
        mutant: LogoutMutant,
        sub: Option<&str>,
        sid: Option<&str>,
    ) -> String {
        let mut key = self.key();
        let mut claims = self.logout_claims(sub, sid);
        let mut header = json!({ "alg": key.alg(), "kid": key.kid, "typ": "logout+jwt" });
        change(mutant, &mut claims);
        match mutant {
            LogoutMutant::KidUnknown => {
                key = self.state().others.stranger.clone();
                header["kid"] = key.kid.as_str().into();
            }
            LogoutMutant::SigOfStranger => key = self.state().others.stranger.clone(),
            LogoutMutant::TypAccessToken => header["typ"] = "at+jwt".into(),
            LogoutMutant::TypJwt => header["typ"] = "JWT".into(),
            LogoutMutant::TypMissing => {
                header.as_object_mut().unwrap().remove("typ");
            }
            _ => {}
        }
        let bytes = claims.to_string();
        match mutant {
            LogoutMutant::Hs256ClientSecret => {
                header["alg"] = "HS256".into();
                let message = unsigned(&header.to_string(), bytes.as_bytes());
                let tag = hs256(self.client_secret().as_bytes(), message.as_bytes());
                format!("{message}.{}", b64(&tag))
            }
            LogoutMutant::SigNone => {
                header["alg"] = "none".into();
                format!("{}.", unsigned(&header.to_string(), bytes.as_bytes()))
            }
            _ => key.jwt_of(&header.to_string(), bytes.as_bytes()),
        }
    }

    fn logout_claims(&self, sub: Option<&str>, sid: Option<&str>) -> Value {
        let time = now() + self.state().clock;
        let mut claims = json!({
            "iss": self.issuer(),
            "aud": self.client_id(),
            "iat": time,
            "exp": time + 120,
            "jti": random_text(),
            "events": { EVENT: {} },
        });
        for (name, value) in [("sub", sub), ("sid", sid)] {
            if let Some(value) = value {
                claims[name] = value.into();
            }
        }
        claims
    }
}

fn change(mutant: LogoutMutant, claims: &mut Value) {
    let time = now();
    let mut set = |name: &str, value: Value| claims[name] = value;
    match mutant {
        LogoutMutant::AudWrong => set("aud", "another-client".into()),
        LogoutMutant::EventNotObject => set("events", json!({ EVENT: true })),
        LogoutMutant::EventsArray => set("events", json!([EVENT])),
        LogoutMutant::EventsWrong => set("events", json!({ format!("{EVENT}2"): {} })),
        LogoutMutant::Expired => set("exp", json!(time - 300)),
        LogoutMutant::IatFuture => {
            set("iat", json!(time + 600));
            set("exp", json!(time + 720));
        }
        LogoutMutant::IatString => set("iat", time.to_string().into()),
        LogoutMutant::IssWrong => set("iss", "https://stranger.example.net".into()),
        LogoutMutant::JtiEmpty => set("jti", "".into()),
        LogoutMutant::JtiNumber => set("jti", 7.into()),
        LogoutMutant::NoncePresent => set("nonce", random_text().into()),
        LogoutMutant::PayloadArray => *claims = json!([claims.clone()]),
        LogoutMutant::SidNumber => set("sid", 7.into()),
        LogoutMutant::SubEmpty => set("sub", "".into()),
        _ => {}
    }
    let gone: &[&str] = match mutant {
        LogoutMutant::AudMissing => &["aud"],
        LogoutMutant::EventsMissing => &["events"],
        LogoutMutant::IatMissing => &["iat"],
        LogoutMutant::IssMissing => &["iss"],
        LogoutMutant::JtiMissing => &["jti"],
        LogoutMutant::NobodyNamed => &["sub", "sid"],
        LogoutMutant::SidNumber => &["sub"],
        LogoutMutant::SubEmpty => &["sid"],
        _ => &[],
    };
    let members = claims.as_object_mut().into_iter();
    members.for_each(|members: &mut Map<String, Value>| {
        members.retain(|name, _| !gone.contains(&name.as_str()));
    });
}
