//! The messages of the authorization code flow, by the `openidconnect` crate: the
//! authorization request, the code's exchange, the refresh. Its HTTP goes over
//! [`crate::fetch`]. ID tokens are taken as text and read by [`super::id_token`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::StatusCode;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreResponseType,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessToken, AsyncHttpClient, AuthType, AuthUrl, AuthenticationContextClass,
    AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EmptyAdditionalClaims, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdToken,
    IssuerUrl, JsonWebKeySet, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardErrorResponse, TokenResponse,
    TokenUrl,
};
use serde::{Deserialize, Serialize};

use vestibule_core::secret::Secret;
use vestibule_core::settings::provider::{MfaFrom, Provider, ProviderKind};

use super::metadata::Metadata;
use super::{Fault, PROVIDER_DOWN, TELL_ADMIN, TRY_AGAIN};
use crate::fetch::{Fetch, FetchError};

type ErrorAnswer = StandardErrorResponse<CoreErrorResponseType>;
type Client = openidconnect::Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    ErrorAnswer,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

/// Life of an access token of which none is told.
const UNTOLD_LIFE: Duration = Duration::from_secs(900);

/// What the token endpoint issued.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access_token: Secret,
    pub(crate) id_token: Option<Secret>,
    pub(crate) refresh_token: Option<Secret>,
    /// What the provider says of the access token's life.
    expires_in: Option<Duration>,
}

impl Tokens {
    /// Life of the access token, also where the provider does not tell it (it is only
    /// recommended to, RFC 6749, 5.1).
    pub(crate) fn life(&self) -> Duration {
        self.expires_in.unwrap_or(UNTOLD_LIFE)
    }
}

/// How strongly a sign-in is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// As the provider sees fit.
    Plain,
    /// The person must prove anew who they are.
    Anew,
    /// The same, with a second factor.
    Mfa,
}

/// An authorization request: where to send the browser, and the verifier to keep.
pub(crate) struct Request {
    pub(crate) location: String,
    pub(crate) pkce_verifier: Option<Secret>,
}

/// Builds the authorization request.
pub(crate) fn request(
    provider: &Provider,
    metadata: &Metadata,
    state: &str,
    nonce: &str,
    strength: Strength,
) -> Result<Request, Fault> {
    let client = client(provider, metadata)?;
    let (state, nonce) = (CsrfToken::new(state.to_owned()), Nonce::new(nonce.to_owned()));
    let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
    let mut request = client.authorize_url(flow, move || state, move || nonce);
    for scope in &provider.scopes {
        request = request.add_scope(Scope::new(scope.clone()));
    }
    let mut verifier = None;
    if provider.pkce {
        let (challenge, kept) = PkceCodeChallenge::new_random_sha256();
        request = request.set_pkce_challenge(challenge);
        verifier = Some(Secret::new(kept.secret().clone()));
    }
    if provider.kind != ProviderKind::Github && strength != Strength::Plain {
        request = request.add_prompt(CoreAuthPrompt::Login).set_max_age(Duration::ZERO);
        if let (Strength::Mfa, MfaFrom::Acr(value)) = (strength, &provider.mfa_from) {
            request =
                request.add_auth_context_value(AuthenticationContextClass::new(value.clone()));
        }
    }
    if let (ProviderKind::Google, [domain]) = (provider.kind, provider.allowed_domains.as_slice()) {
        request = request.add_extra_param("hd", domain.to_string());
    }
    let (mut url, _, _) = request.url();
    if provider.kind == ProviderKind::Github {
        // No OpenID Connect, so nothing that a nonce would come back in.
        let kept: Vec<_> =
            url.query_pairs().into_owned().filter(|(name, _)| name != "nonce").collect();
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    Ok(Request { location: url.to_string(), pkce_verifier: verifier })
}

/// Redeems a code.
pub(crate) async fn exchange(
    fetch: &Fetch,
    provider: &Provider,
    metadata: &Metadata,
    code: &str,
    pkce_verifier: Option<&Secret>,
) -> Result<Tokens, Fault> {
    let client = client(provider, metadata)?;
    let mut request = client.exchange_code(AuthorizationCode::new(code.to_owned()));
    if let Some(verifier) = pkce_verifier {
        let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
        request = request.set_pkce_verifier(verifier);
    }
    request.request_async(&Over(fetch)).await.map(Tokens::from).map_err(|error| fault(&error))
}

/// Renews an access token.
pub(crate) async fn refresh(
    fetch: &Fetch,
    provider: &Provider,
    metadata: &Metadata,
    refresh_token: &Secret,
) -> Result<Tokens, Fault> {
    let client = client(provider, metadata)?;
    let token = RefreshToken::new(refresh_token.expose_secret().to_owned());
    let answer = client.exchange_refresh_token(&token).request_async(&Over(fetch)).await;
    answer.map(Tokens::from).map_err(|error| fault(&error))
}

/// The crate's messages go over our own client.
struct Over<'f>(&'f Fetch);

impl<'c> AsyncHttpClient<'c> for Over<'_> {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async {
            let answer = self.0.send(request).await?;
            // Whatever it holds: not now.
            match answer.status() {
                status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                    Err(FetchError::NotNow(status.as_u16()))
                }
                _ => Ok(answer),
            }
        })
    }
}

fn client(provider: &Provider, metadata: &Metadata) -> Result<Client, Fault> {
    let unusable =
        |what: &str| Fault::new("discovery_malformed", format!("{what} is no URL"), TELL_ADMIN);
    let issuer = IssuerUrl::new(metadata.issuer.clone()).map_err(|_| unusable("the issuer"))?;
    let authorization = AuthUrl::new(metadata.authorization_endpoint.clone())
        .map_err(|_| unusable("the authorization endpoint"))?;
    let token = TokenUrl::new(metadata.token_endpoint.clone())
        .map_err(|_| unusable("the token endpoint"))?;
    let redirect = RedirectUrl::new(provider.redirect_uri.clone())
        .map_err(|_| unusable("the redirect URI"))?;
    let id = ClientId::new(provider.client_id.clone());
    // Which scopes are asked for is the operator's word alone, also about `openid`.
    let mut client = openidconnect::Client::new(id, issuer, JsonWebKeySet::default())
        .set_auth_uri(authorization)
        .set_token_uri(token)
        .set_redirect_uri(redirect)
        .set_auth_type(auth_type(provider, metadata))
        .disable_openid_scope();
    if let Some(secret) = &provider.client_secret {
        client = client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()));
    }
    Ok(client)
}

/// Basic unless the provider takes only the other (OpenID Connect Core, 9).
fn auth_type(provider: &Provider, metadata: &Metadata) -> AuthType {
    let methods = &metadata.token_auth_methods;
    let takes = |name: &str| methods.iter().any(|method| method == name);
    let post_only =
        !methods.is_empty() && !takes("client_secret_basic") && takes("client_secret_post");
    if provider.kind == ProviderKind::Github || post_only {
        AuthType::RequestBody
    } else {
        AuthType::BasicAuth
    }
}

fn fault(error: &RequestTokenError<FetchError, ErrorAnswer>) -> Fault {
    match error {
        RequestTokenError::ServerResponse(answer) => {
            refused(answer.error().as_ref(), answer.error_description().map(String::as_str))
        }
        RequestTokenError::Request(error) => {
            let reason = match error {
                FetchError::NotNow(_) => "token_endpoint_unavailable",
                FetchError::TimedOut => "token_endpoint_timeout",
                FetchError::TooLong => "token_endpoint_too_long",
                FetchError::Redirect => "token_endpoint_redirect",
                _ => "token_endpoint_unreachable",
            };
            Fault::new(reason, error.to_string(), PROVIDER_DOWN)
        }
        // GitHub's errors come with status 200.
        RequestTokenError::Parse(why, body) => match serde_json::from_slice::<ErrorAnswer>(body) {
            Ok(answer) => {
                refused(answer.error().as_ref(), answer.error_description().map(String::as_str))
            }
            Err(_) => Fault::new("token_endpoint_malformed", why.to_string(), PROVIDER_DOWN),
        },
        RequestTokenError::Other(why) => {
            Fault::new("token_endpoint_malformed", why.clone(), PROVIDER_DOWN)
        }
    }
}

/// The provider's own word of refusal, as one of ours.
fn refused(word: &str, description: Option<&str>) -> Fault {
    let (reason, advice) = match word {
        "invalid_client" | "incorrect_client_credentials" => {
            ("token_endpoint_invalid_client", TELL_ADMIN)
        }
        "invalid_grant" | "bad_verification_code" | "bad_refresh_token" => {
            ("token_endpoint_invalid_grant", TRY_AGAIN)
        }
        "invalid_request" => ("token_endpoint_invalid_request", TELL_ADMIN),
        "invalid_scope" => ("token_endpoint_invalid_scope", TELL_ADMIN),
        "redirect_uri_mismatch" => ("token_endpoint_redirect_uri_mismatch", TELL_ADMIN),
        "temporarily_unavailable" | "server_error" | "slow_down" => {
            ("token_endpoint_unavailable", PROVIDER_DOWN)
        }
        "unauthorized_client" => ("token_endpoint_unauthorized_client", TELL_ADMIN),
        "unsupported_grant_type" => ("token_endpoint_unsupported_grant_type", TELL_ADMIN),
        _ => ("token_endpoint_refused", TRY_AGAIN),
    };
    let detail = plain(&format!("{word} {}", description.unwrap_or_default()));
    Fault::new(reason, detail, advice)
}

/// What a provider wrote, for a log line: short, without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The token endpoint's answer, with the ID token as it stands.
#[derive(Debug, Deserialize, Serialize)]
struct Answer {
    access_token: AccessToken,
    token_type: BearerOnly,
    #[serde(default)]
    expires_in: Option<Seconds>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
    #[serde(default, skip_serializing)]
    id_token: Option<String>,
}

/// `token_type`, which must say Bearer (in any case).
#[derive(Debug, Serialize)]
struct BearerOnly(CoreTokenType);

impl<'de> Deserialize<'de> for BearerOnly {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = String::deserialize(reader)?;
        if text.eq_ignore_ascii_case("bearer") {
            Ok(Self(CoreTokenType::Bearer))
        } else {
            Err(serde::de::Error::custom("token_type is not Bearer"))
        }
    }
}

/// A number of seconds; some providers write it as a text.
#[derive(Clone, Copy, Debug, Serialize)]
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let wrong = || serde::de::Error::custom("expires_in is no number of seconds");
        match serde_json::Value::deserialize(reader)? {
            serde_json::Value::Number(number) => number.as_u64(),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        }
        .map(Self)
        .ok_or_else(wrong)
    }
}

impl OAuth2TokenResponse for Answer {
    type TokenType = CoreTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &CoreTokenType {
        &self.token_type.0
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.map(|seconds| Duration::from_secs(seconds.0))
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl
    TokenResponse<
        EmptyAdditionalClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    > for Answer
{
    /// Nothing: the text is read elsewhere.
    fn id_token(
        &self,
    ) -> Option<
        &IdToken<
            EmptyAdditionalClaims,
            CoreGenderClaim,
            CoreJweContentEncryptionAlgorithm,
            CoreJwsSigningAlgorithm,
        >,
    > {
        None
    }
}

impl From<Answer> for Tokens {
    fn from(answer: Answer) -> Self {
        let secret = |text: &str| Some(Secret::new(text)).filter(|_| !text.is_empty());
        Self {
            expires_in: OAuth2TokenResponse::expires_in(&answer),
            id_token: answer.id_token.as_deref().and_then(secret),
            refresh_token: answer.refresh_token.as_ref().and_then(|token| secret(token.secret())),
            access_token: Secret::new(answer.access_token.secret().clone()),
        }
    }
}
