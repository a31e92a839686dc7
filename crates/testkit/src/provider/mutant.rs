//! Every single way in which a provider's answers can be wrong, each with a name for failure
//! texts and what must come of it. Where the OpenID conformance suite has a module for relying
//! parties, the name is that of the module (`oidcc-client-test-…`).

/// Where in a sign-in a mutant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The answer of the authorization endpoint, before any code is redeemed.
    Callback,
    /// What the person is said to be.
    Claims,
    /// A code that must not lead to tokens, or tokens that are not for it.
    Code,
    /// The discovery document.
    Discovery,
    /// The ID token.
    IdToken,
    /// The key set.
    Keys,
    /// The answer to a refresh.
    Refresh,
    /// The answer of the token endpoint.
    Token,
    /// The answer of the UserInfo endpoint.
    UserInfo,
}

/// What must come of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A session (at a refresh: it goes on).
    Accepted,
    /// 400 and no session.
    BadRequest,
    /// 401 `PROVIDER_SIGNIN_FAILED` and no session (at a refresh: it ends).
    Refused,
}

macro_rules! mutants {
    (
        $(#[$about:meta])*
        $enum:ident
        $($(#[$doc:meta])* $variant:ident = $name:literal, $stage:ident, $outcome:ident;)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum { $($(#[$doc])* $variant,)* }

        impl $enum {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Kebab-case, at most 32 characters: serves as a provider's id too.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Where it stands.
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage,)* }
            }

            /// What must come of it.
            pub const fn outcome(self) -> Outcome {
                match self { $(Self::$variant => Outcome::$outcome,)* }
            }
        }
    };
}

mutants! {
    /// One deviation of a provider.
    Mutant

    /// None: the control.
    Untouched = "untouched", IdToken, Accepted;

    // What an honest provider may do.

    /// No `at_hash`: optional where a code is redeemed.
    AtHashMissing = "missing-athash", IdToken, Accepted;
    /// `aud` is a list of us alone.
    AudArrayOfUs = "aud-array-of-us", IdToken, Accepted;
    /// Its clock is half a minute ahead.
    ClockAheadLittle = "clock-ahead-30s", IdToken, Accepted;
    /// Its clock is half a minute behind.
    ClockBehindLittle = "clock-behind-30s", IdToken, Accepted;
    /// Without a UserInfo endpoint; every claim is in the ID token.
    DiscoveryNoUserInfo = "discovery-no-userinfo", Discovery, Accepted;
    /// ES256.
    IdTokenSigEs256 = "idtoken-sig-es256", IdToken, Accepted;
    /// RFC 9207 neither advertised nor spoken.
    IssParameterUnadvertised = "iss-parameter-unadvertised", Callback, Accepted;
    /// A key of a kind nobody knows and one that is broken stand beside the good one.
    JwksBadNeighbour = "jwks-bad-neighbour", Keys, Accepted;
    /// A thousand keys, ours the last.
    JwksThousandKeys = "jwks-thousand-keys", Keys, Accepted;
    /// No `kid`, and of two keys only one fits the algorithm.
    KidAbsentOneFits = "kid-absent-one-fits", Keys, Accepted;
    /// No `kid`, one key.
    KidAbsentSingleJwks = "kid-absent-single-jwks", Keys, Accepted;
    /// Another key each time somebody comes.
    SigningKeyRotation = "signing-key-rotation", Keys, Accepted;
    /// `token_type` is `bearer`.
    TokenTypeLowerCase = "token-type-lower-case", Token, Accepted;
    /// No `expires_in`.
    TokenWithoutExpiresIn = "token-without-expires-in", Token, Accepted;
    /// `typ` is `JWT`.
    TypJwt = "typ-jwt", IdToken, Accepted;

    // Discovery.

    /// A list.
    DiscoveryArray = "discovery-array", Discovery, Refused;
    /// `issuer` is another host.
    DiscoveryIssuerMismatch = "discovery-issuer-mismatch", Discovery, Refused;
    /// No `issuer`.
    DiscoveryIssuerMissing = "discovery-issuer-missing", Discovery, Refused;
    /// `issuer` in another case.
    DiscoveryIssuerOtherCase = "discovery-issuer-other-case", Discovery, Refused;
    /// `issuer` with one more slash.
    DiscoveryIssuerSlash = "discovery-issuer-slash", Discovery, Refused;
    /// No `authorization_endpoint`.
    DiscoveryNoAuthorize = "discovery-no-authorize", Discovery, Refused;
    /// No `jwks_uri`.
    DiscoveryNoJwks = "discovery-no-jwks", Discovery, Refused;
    /// No `token_endpoint`.
    DiscoveryNoToken = "discovery-no-token", Discovery, Refused;
    /// An authorization endpoint that is a script.
    DiscoveryScript = "discovery-script", Discovery, Refused;

    // What comes back through the browser.

    /// Neither code nor error.
    CodeMissing = "code-missing", Callback, Refused;
    /// `code` twice.
    CodeRepeated = "code-repeated", Callback, BadRequest;
    /// `error=server_error`
    ErrorServer = "error-server-error", Callback, Refused;
    /// An error that no standard names.
    ErrorUnheardOf = "error-unheard-of", Callback, Refused;
    /// `error=unauthorized_client`
    ErrorUnauthorizedClient = "error-unauthorized-client", Callback, Refused;
    /// Tokens in the query instead of a code.
    ImplicitInQuery = "implicit-in-query", Callback, Refused;
    /// RFC 9207 advertised, and no `iss`.
    IssParameterMissing = "iss-parameter-missing", Callback, Refused;
    /// `iss` twice.
    IssParameterRepeated = "iss-parameter-repeated", Callback, BadRequest;
    /// RFC 9207 advertised, and another's `iss`.
    IssParameterWrong = "iss-parameter-wrong", Callback, Refused;
    /// RFC 9207 not advertised, and another's `iss` all the same.
    IssParameterWrongUnadvertised = "iss-parameter-wrong-unadvertised", Callback, Refused;
    /// `state` with one more letter.
    StateLonger = "state-longer", Callback, Refused;
    /// No `state`.
    StateMissing = "state-missing", Callback, Refused;
    /// `state` twice.
    StateRepeated = "state-repeated", Callback, BadRequest;
    /// A `state` that nobody gave out.
    StateWrong = "state-wrong", Callback, Refused;

    // Codes.

    /// A code that belongs to another's sign-in; the provider checks PKCE.
    CodeInjected = "code-injected", Code, Refused;
    /// A code that belongs to another's sign-in; the provider checks nothing.
    CodeSwapped = "code-swapped", Code, Refused;
    /// A code that the provider does not know.
    CodeUnknown = "code-unknown", Code, Refused;

    // The token endpoint.

    /// `id_token` is empty.
    IdTokenEmpty = "id-token-empty", Token, Refused;
    /// `id_token` is a number.
    IdTokenNumber = "id-token-number", Token, Refused;
    /// A list.
    TokenArray = "token-array", Token, Refused;
    /// Nothing.
    TokenEmpty = "token-empty", Token, Refused;
    /// An error with status 200.
    TokenErrorIn200 = "token-error-in-200", Token, Refused;
    /// A page.
    TokenHtml = "token-html", Token, Refused;
    /// 401 `invalid_client`.
    TokenInvalidClient = "token-invalid-client", Token, Refused;
    /// 400 `invalid_grant`.
    TokenInvalidGrant = "token-invalid-grant", Token, Refused;
    /// No `access_token`.
    TokenNoAccessToken = "token-no-access-token", Token, Refused;
    /// No `id_token`.
    TokenNoIdToken = "token-no-id-token", Token, Refused;
    /// `token_type` is `mac`.
    TokenTypeMac = "token-type-mac", Token, Refused;
    /// No `token_type`.
    TokenTypeMissing = "token-type-missing", Token, Refused;

    // The ID token's claims.

    /// `at_hash` of another access token.
    AtHashWrong = "invalid-athash", IdToken, Refused;
    /// `aud` is a list that does not name us.
    AudArrayWithoutUs = "aud-array-without-us", IdToken, Refused;
    /// `aud` is an empty list.
    AudEmptyArray = "aud-empty-array", IdToken, Refused;
    /// No `aud`.
    AudMissing = "missing-aud", IdToken, Refused;
    /// `aud` is a number.
    AudNumber = "aud-number", IdToken, Refused;
    /// `aud` names us and another, without `azp`.
    AudSeveralWithoutAzp = "aud-several-without-azp", IdToken, Refused;
    /// `aud` is another client.
    AudWrong = "invalid-aud", IdToken, Refused;
    /// `aud` names us and another, `azp` the other.
    AzpWrong = "azp-wrong", IdToken, Refused;
    /// `aud` is us alone, `azp` another.
    AzpWrongSingle = "azp-wrong-single", IdToken, Refused;
    /// `c_hash` of another code.
    CHashWrong = "invalid-chash", IdToken, Refused;
    /// Its clock is ten minutes ahead.
    ClockAhead = "clock-ahead-10m", IdToken, Refused;
    /// Its clock is ten minutes behind.
    ClockBehind = "clock-behind-10m", IdToken, Refused;
    /// `exp` is a list.
    ExpArray = "exp-array", IdToken, Refused;
    /// `exp` is a fraction.
    ExpFloat = "exp-float", IdToken, Refused;
    /// `exp` is 1e300.
    ExpHuge = "exp-huge", IdToken, Refused;
    /// No `exp`.
    ExpMissing = "missing-exp", IdToken, Refused;
    /// `exp` is negative.
    ExpNegative = "exp-negative", IdToken, Refused;
    /// `exp` is null.
    ExpNull = "exp-null", IdToken, Refused;
    /// `exp` was five minutes ago.
    ExpPast = "exp-past", IdToken, Refused;
    /// `exp` is a string of digits.
    ExpString = "exp-string", IdToken, Refused;
    /// `exp` is true.
    ExpTrue = "exp-true", IdToken, Refused;
    /// `iat` is in ten minutes.
    IatFuture = "iat-future", IdToken, Refused;
    /// No `iat`.
    IatMissing = "missing-iat", IdToken, Refused;
    /// `iat` is a string of digits.
    IatString = "iat-string", IdToken, Refused;
    /// Signed by another provider's key, with its `iss`.
    IdTokenOfAnother = "id-token-of-another-provider", IdToken, Refused;
    /// `iss` is a list.
    IssArray = "iss-array", IdToken, Refused;
    /// No `iss`.
    IssMissing = "missing-iss", IdToken, Refused;
    /// `iss` is a number.
    IssNumber = "iss-number", IdToken, Refused;
    /// `iss` with one more slash.
    IssSlash = "iss-slash", IdToken, Refused;
    /// `iss` is another.
    IssWrong = "invalid-iss", IdToken, Refused;
    /// `nbf` is in ten minutes.
    NbfFuture = "nbf-future", IdToken, Refused;
    /// `nbf` is a string.
    NbfString = "nbf-string", IdToken, Refused;
    /// `nonce` is empty.
    NonceEmpty = "nonce-empty", IdToken, Refused;
    /// No `nonce`.
    NonceMissing = "nonce-missing", IdToken, Refused;
    /// `nonce` is a number.
    NonceNumber = "nonce-number", IdToken, Refused;
    /// `nonce` of another sign-in.
    NonceWrong = "nonce-invalid", IdToken, Refused;
    /// `sub` is a list.
    SubArray = "sub-array", IdToken, Refused;
    /// `sub` holds a line feed and an escape.
    SubControl = "sub-control", IdToken, Refused;
    /// `sub` is empty.
    SubEmpty = "sub-empty", IdToken, Refused;
    /// No `sub`.
    SubMissing = "missing-sub", IdToken, Refused;
    /// `sub` is null.
    SubNull = "sub-null", IdToken, Refused;
    /// `sub` is a number.
    SubNumber = "sub-number", IdToken, Refused;

    // The ID token's signature and header.

    /// No `alg`.
    AlgMissing = "alg-missing", IdToken, Refused;
    /// `alg` is a name nobody knows.
    AlgUnknown = "alg-unknown", IdToken, Refused;
    /// `crit` names an extension nobody knows.
    CritHeader = "crit-header", IdToken, Refused;
    /// ES256 with r and s zero.
    Es256Zero = "es256-zero", IdToken, Refused;
    /// The header is a list.
    HeaderArray = "header-array", IdToken, Refused;
    /// `alg` twice: the real one and `none`.
    HeaderRepeatedAlg = "header-repeated-alg", IdToken, Refused;
    /// HS256 with the client secret.
    Hs256ClientSecret = "hs256-client-secret", IdToken, Refused;
    /// HS256 with the public key as PEM.
    Hs256PublicKey = "hs256-public-key", IdToken, Refused;
    /// Without a signature.
    IdTokenSigNone = "idtoken-sig-none", IdToken, Refused;
    /// The same, `alg` spelled `nOnE`.
    IdTokenSigNoneCased = "idtoken-sig-none-cased", IdToken, Refused;
    /// `jku` leads to a stranger's key, which signed.
    JkuHeader = "jku-header", IdToken, Refused;
    /// Five parts.
    Jwe = "jwe", IdToken, Refused;
    /// A stranger's key in the header, which signed.
    JwkHeader = "jwk-header", IdToken, Refused;
    /// `kid` is a number.
    KidNumber = "kid-number", IdToken, Refused;
    /// `kid` is a path.
    KidPath = "kid-path", IdToken, Refused;
    /// `kid` that is in no key set; a stranger's key.
    KidUnknown = "kid-unknown", IdToken, Refused;
    /// The payload is a list.
    PayloadArray = "payload-array", IdToken, Refused;
    /// The payload is no JSON.
    PayloadNoJson = "payload-no-json", IdToken, Refused;
    /// `sub` twice.
    PayloadRepeatedSub = "payload-repeated-sub", IdToken, Refused;
    /// An EC key's name with RS256, signed by a stranger.
    Rs256WithEcKey = "rs256-with-ec-key", IdToken, Refused;
    /// RS256, no signature.
    SigEmpty = "sig-empty", IdToken, Refused;
    /// ES256, one bit wrong.
    SigEs256Wrong = "invalid-sig-es256", IdToken, Refused;
    /// A stranger's key under the right `kid`.
    SigOfStranger = "sig-of-stranger", IdToken, Refused;
    /// RS256, one bit wrong.
    SigRs256Wrong = "invalid-sig-rs256", IdToken, Refused;
    /// RS256, the last byte cut off.
    SigShort = "sig-short", IdToken, Refused;
    /// Two parts.
    TwoParts = "two-parts", IdToken, Refused;
    /// `typ` is that of an access token.
    TypAccessToken = "typ-at-jwt", IdToken, Refused;
    /// `typ` is that of a logout token.
    TypLogoutToken = "typ-logout-jwt", IdToken, Refused;
    /// `x5u` leads to a stranger's key, which signed.
    X5uHeader = "x5u-header", IdToken, Refused;
    /// `zip`, a payload that inflates.
    ZipHeader = "zip-header", IdToken, Refused;

    // Keys.

    /// A list instead of a set.
    JwksArray = "jwks-array", Keys, Refused;
    /// No key.
    JwksEmpty = "jwks-empty", Keys, Refused;
    /// The key is for encryption.
    JwksForEncryption = "jwks-for-encryption", Keys, Refused;
    /// A page.
    JwksHtml = "jwks-html", Keys, Refused;
    /// A symmetric key, and HS256 with it.
    JwksOct = "jwks-oct", Keys, Refused;
    /// The key is for another algorithm.
    JwksOtherAlg = "jwks-other-alg", Keys, Refused;
    /// A key with its private half.
    JwksPrivate = "jwks-private", Keys, Refused;
    /// An RSA key of 1,024 bits.
    JwksShortRsa = "jwks-short-rsa", Keys, Refused;
    /// No `kid`, two keys that fit.
    KidAbsentMultipleJwks = "kid-absent-multiple-jwks", Keys, Refused;

    // UserInfo. The ID token then holds no claim of the person.

    /// A list.
    UserInfoArray = "userinfo-array", UserInfo, Refused;
    /// A page.
    UserInfoHtml = "userinfo-html", UserInfo, Refused;
    /// Another `sub`.
    UserInfoInvalidSub = "userinfo-invalid-sub", UserInfo, Refused;
    /// A token without a signature.
    UserInfoJwtNone = "userinfo-jwt-none", UserInfo, Refused;
    /// No `sub`.
    UserInfoMissingSub = "userinfo-missing-sub", UserInfo, Refused;
    /// `sub` twice: the right one and another.
    UserInfoRepeatedSub = "userinfo-repeated-sub", UserInfo, Refused;
    /// 401.
    UserInfoUnauthorized = "userinfo-unauthorized", UserInfo, Refused;

    // The person.

    /// An empty address.
    EmailEmpty = "email-empty", Claims, Refused;
    /// No address.
    EmailMissing = "email-missing", Claims, Refused;
    /// An address that is a number.
    EmailNumber = "email-number", Claims, Refused;

    // A refresh.

    /// The provider does not answer.
    RefreshDown = "refresh-down", Refresh, Accepted;
    /// 500.
    RefreshError = "refresh-error", Refresh, Accepted;
    /// `aud` is another client.
    RefreshInvalidAud = "refresh-token-invalid-aud", Refresh, Refused;
    /// `iss` is another.
    RefreshInvalidIssuer = "refresh-token-invalid-issuer", Refresh, Refused;
    /// `sub` is another.
    RefreshInvalidSub = "refresh-token-invalid-sub", Refresh, Refused;
    /// New tokens, but no ID token.
    RefreshNoIdToken = "refresh-no-id-token", Refresh, Accepted;
    /// The same refresh token serves again, and none comes.
    RefreshNoNewToken = "refresh-no-new-token", Refresh, Accepted;
    /// 400 `invalid_grant`.
    RefreshRefused = "refresh-refused", Refresh, Refused;
    /// An ID token without a signature.
    RefreshSigNone = "refresh-sig-none", Refresh, Refused;
    /// UserInfo of another `sub`.
    RefreshUserInfoInvalidSub = "refresh-userinfo-invalid-sub", Refresh, Refused;
}

impl Mutant {
    /// Those that show at a sign-in.
    pub fn at_sign_in() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|mutant| mutant.stage() != Stage::Refresh)
    }

    /// Those that show at a refresh.
    pub fn at_refresh() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|mutant| mutant.stage() == Stage::Refresh)
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_its_own_and_serves_as_an_id() {
        let names: BTreeSet<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
        for name in names {
            assert!(name.len() <= 32, "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
    }
}
