//! From a right password to a session or tokens: what the sign-in page, sign-up, `/setup` and
//! `POST /login` have in common.

use std::time::Duration;

use vestibule_authn::login::PasswordAttempt;
use vestibule_authn::ports::SessionProof;
use vestibule_authn::session::{SignIn, StartedSession};
use vestibule_core::account::{Account, Status};
use vestibule_core::id::AccountId;
use vestibule_core::identity::Identity;
use vestibule_core::secret::Secret;

use crate::problem::Problem;
use crate::visit::Visit;

/// How long a browser is remembered as one that signed in before: the longest a cookie may live.
const DEVICE_LIFETIME: Duration = Duration::from_secs(400 * 86_400);

/// A begun session and the cookies that go with it.
pub(crate) struct SignedIn {
    pub(crate) account: Account,
    pub(crate) cookies: Vec<String>,
}

/// Checks e-mail and password. A disabled account is answered like a wrong password.
pub(crate) async fn check_password(
    visit: &Visit,
    email: &str,
    password: &str,
) -> Result<Account, Problem> {
    let attempt = PasswordAttempt {
        email: email.to_owned(),
        password: Secret::new(password),
        client: visit.ctx.client_ip,
        device: visit.cookie(visit.names.device).map(str::to_owned),
    };
    let account = visit.authn().check_password(attempt, &visit.actor(), visit.now).await?;
    if account.effective_status() == Status::Disabled {
        return Err(Problem::invalid_login());
    }
    Ok(account)
}

/// What a password proved, as the start of a session.
pub(crate) fn by_password(visit: &Visit, account: Account, remember: bool) -> SignIn {
    SignIn {
        account,
        remember,
        amr: vec!["pwd".to_owned()],
        mfa: false,
        auth_time: None,
        client_ip: visit.ctx.client_ip,
        user_agent: visit.user_agent.clone(),
    }
}

/// Begins a browser session in place of the one the browser had.
pub(crate) async fn start(
    visit: &Visit,
    account: Account,
    remember: bool,
) -> Result<SignedIn, Problem> {
    let sign_in = by_password(visit, account.clone(), remember);
    let started = visit
        .authn()
        .start_session(sign_in, visit.ctx.cookie_session, &actor_of(visit, &account), visit.now)
        .await?;
    let cookies = cookies(visit, account.id, &started).await;
    Ok(SignedIn { account, cookies })
}

/// What a browser gets with a session that just began: its token, and that it was here before.
pub(crate) async fn cookies(
    visit: &Visit,
    account: AccountId,
    started: &StartedSession,
) -> Vec<String> {
    let mut cookies = visit.session_cookies(started);
    let device = visit.cookie(visit.names.device);
    if let Some(device) = visit.authn().remember_device(account, device, visit.now).await {
        cookies.push(visit.names.set(visit.names.device, &device, DEVICE_LIFETIME));
    }
    cookies
}

/// Whether an account has a password of its own.
pub(crate) async fn has_password(visit: &Visit, account: AccountId) -> Result<bool, Problem> {
    Ok(visit.authn().store().password_hash(account).await?.is_some())
}

/// Proves anew who sits there, in the session that runs: it gets a new token and a new time.
pub(crate) async fn prove_again(
    visit: &Visit,
    identity: &Identity,
    password: &str,
) -> Result<StartedSession, Problem> {
    let (Some(session), Some(id)) = (visit.ctx.cookie_session, identity.account) else {
        return Err(Problem::unauthenticated());
    };
    let account = visit.account(id).await?;
    let email = account.email.as_deref().unwrap_or_default();
    let proved = check_password(visit, email, password).await?;
    if proved.id != id {
        return Err(Problem::invalid_login());
    }
    // It stays the session of its provider; a second factor counts from when it was shown, so an
    // old one does not go on under a new proof.
    let began = identity.amr.iter().filter(|word| &***word == "fed").map(|word| word.to_string());
    let amr = began.chain(["pwd".to_owned()]).collect();
    let proof = SessionProof { auth_time: visit.now, amr, mfa: false };
    Ok(visit.authn().renew_session(session, Some(proof), visit.now).await?)
}

/// The person who just proved who they are is the actor of what follows.
pub(crate) fn actor_of(visit: &Visit, account: &Account) -> vestibule_authn::Actor {
    vestibule_authn::Actor { id: account.id.to_string(), ..visit.actor() }
}
