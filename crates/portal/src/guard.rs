//! Who may do what at the portal. One function answers; handlers say what they need.

use std::sync::Arc;
use std::time::Duration;

use vestibule_core::account::{Account, Role, Status};
use vestibule_core::credential::CredentialKind;
use vestibule_core::id::AccountId;
use vestibule_core::identity::Identity;

use crate::problem::Problem;
use crate::visit::Visit;

/// How old a sign-in may be for what changes the ways in, and for administration where an app
/// shares the portal's cookie.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// What a handler needs of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// An active administrator; a key needs the scope `admin`.
    Admin,
    /// The person's own keys; a key needs the scope `keys`.
    Keys,
    /// Anybody signed in, also pending, rejected, or with a password to change.
    Known,
    /// An active person; a key must not be narrowed.
    Own,
    /// A session or token, also where the password must be changed; never a key.
    Person,
}

impl Visit {
    /// The identity, if it has what is needed.
    pub(crate) fn require(&self, need: Need) -> Result<&Arc<Identity>, Problem> {
        let identity = self.identified()?;
        match identity.status {
            Status::Active => {}
            Status::Disabled => return Err(Problem::account_disabled()),
            Status::Pending | Status::Rejected if need == Need::Known => return Ok(identity),
            Status::Pending => return Err(Problem::account_pending()),
            Status::Rejected => return Err(Problem::account_rejected()),
        }
        if identity.must_change_password && !matches!(need, Need::Known | Need::Person) {
            return Err(Problem::password_change_required());
        }
        let is_key = identity.key.is_some();
        let scopes = &identity.scopes;
        let within = match need {
            Need::Admin => scopes.allow_admin(),
            Need::Keys => scopes.allow_keys(),
            Need::Known => true,
            Need::Own => scopes.is_all(),
            Need::Person => !is_key,
        };
        if is_key && !within {
            return Err(Problem::forbidden("This key may not do that."));
        }
        if need == Need::Admin {
            if identity.role != Role::Admin {
                return Err(Problem::forbidden("Only administrators may do that."));
            }
            self.require_fresh(identity)?;
        }
        Ok(identity)
    }

    /// The identity with its account's id; 404 `NOT_AVAILABLE` where there is no account
    /// behind it (mode none).
    pub(crate) fn require_account(
        &self,
        need: Need,
    ) -> Result<(&Arc<Identity>, AccountId), Problem> {
        let identity = self.require(need)?;
        if identity.credential == CredentialKind::None {
            return Err(Problem::not_available());
        }
        let account = identity.account.ok_or_else(Problem::not_available)?;
        Ok((identity, account))
    }

    /// The stored account behind the identity.
    pub(crate) async fn account(&self, id: AccountId) -> Result<Account, Problem> {
        self.authn().store().account(id).await?.ok_or_else(Problem::unauthenticated)
    }

    fn identified(&self) -> Result<&Arc<Identity>, Problem> {
        // Where nothing is checked only loopback listeners are allowed, so whatever does not come
        // straight from this machine was forwarded to it.
        if self.auth_is_off()
            && !self.ctx.direct_loopback
            && !self.settings.auth.allow_insecure_bypass
        {
            return Err(Problem::bypass_refused());
        }
        if self.ctx.store_unavailable {
            return Err(Problem::store_unavailable());
        }
        if self.ctx.bad_credential {
            return Err(Problem::invalid_credential());
        }
        let identity = self.ctx.identity.as_ref().ok_or_else(Problem::unauthenticated)?;
        if matches!(identity.credential, CredentialKind::Jwt(_)) {
            return Err(Problem::forbidden("This credential is for apps, not for the portal."));
        }
        Ok(identity)
    }

    /// Where scripts of an app run with the portal's cookie (one host, or one cookie for a
    /// domain), administration asks for a recent sign-in.
    fn require_fresh(&self, identity: &Identity) -> Result<(), Problem> {
        let exposed = self.is_shared_host() || self.names.domain.is_some();
        if !exposed || identity.credential != CredentialKind::Session {
            return Ok(());
        }
        if self.is_fresh(identity) { Ok(()) } else { Err(Problem::reauth_required()) }
    }

    /// Whether the person proved who they are within the last minutes.
    pub(crate) fn is_fresh(&self, identity: &Identity) -> bool {
        identity.auth_time.is_some_and(|when| self.now.since(when) <= FRESH)
    }
}
