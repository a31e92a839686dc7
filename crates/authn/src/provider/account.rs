//! Whose identity it is: by the link of (issuer, subject), else by joining on a verified
//! e-mail address, else a new account (CONTRACT section 4, "Joining accounts").

use serde::{Deserialize, Serialize};

use vestibule_core::account::{Account, Role, Status, username_from};
use vestibule_core::group::Group;
use vestibule_core::id::AccountId;
use vestibule_core::settings::auth::{FirstUser, LinkVerifiedEmail};
use vestibule_core::settings::provider::{Provider, ProviderKind};

use super::ProviderRefused;
use super::sign_in::{Case, Stop, disabled, together};
use crate::identity_cache::Subject;
use crate::oidc::FLOW_LIFETIME;
use crate::oidc::person::Person;
use crate::ports::{
    AccountChange, CreateCondition, NewAccount, OneTimeKind, ProviderLink, StoreError,
};
use crate::{Actor, Authn, keyring};

/// Rounds in which somebody else may get in between.
const TRIES: usize = 4;

/// A link that waits for the account's owner, as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) provider: String,
    pub(super) label: String,
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) display: String,
    pub(super) account: String,
    pub(super) email: String,
}

impl Authn {
    /// The account of the person who signed in: found, joined or made.
    pub(super) async fn account_of(&self, case: &Case<'_>) -> Result<Account, Stop> {
        let person = &case.person;
        if !is_of_allowed_domain(&case.remote.config, person) {
            return Err(Stop::Answer(ProviderRefused::EmailDomain, "email_domain"));
        }
        for _ in 0..TRIES {
            let link = self.store.provider_link(&person.issuer, &person.subject).await?;
            let attempt = match link {
                Some((link, account)) => self.known(case, link, account).await,
                None => match self.store.account_by_email(&person.email).await? {
                    Some(account) => self.join(case, account).await,
                    None => self.make(case).await,
                },
            };
            match attempt {
                // Somebody was faster: with the identity, with the address, or took one away.
                Err(Stop::Answer(
                    ProviderRefused::Store(
                        StoreError::Conflict("link" | "email") | StoreError::NotFound,
                    ),
                    _,
                )) => {}
                done => return done,
            }
        }
        Err(StoreError::Unavailable("an account changed while it was looked for".into()).into())
    }

    /// Signed in here before.
    async fn known(
        &self,
        case: &Case<'_>,
        link: ProviderLink,
        account: Account,
    ) -> Result<Account, Stop> {
        if account.effective_status() == Status::Disabled {
            return Err(disabled());
        }
        let account = self.bring_up_to_date(case, link, account).await?;
        self.make_first_admin_of_provider(case, account).await
    }

    /// An account with this address exists: the identity may be joined to it.
    async fn join(&self, case: &Case<'_>, account: Account) -> Result<Account, Stop> {
        let person = &case.person;
        // First, so that nobody learns about an account by an address that is not theirs.
        if !person.email_verified {
            return Err(self.not_joined(case, &account, "email_unverified", false).await?);
        }
        if account.effective_status() == Status::Disabled {
            return Err(disabled());
        }
        let is_signed_in = case.callback.account == Some(account.id);
        match self.settings().auth.link_verified_email {
            LinkVerifiedEmail::Never => {
                return Err(self.not_joined(case, &account, "never", false).await?);
            }
            LinkVerifiedEmail::Safe if account.role == Role::Admin => {
                return Err(self.not_joined(case, &account, "administrator", true).await?);
            }
            LinkVerifiedEmail::Always | LinkVerifiedEmail::Safe => {}
        }
        // Nobody can sit on an address in advance: whoever made the account without proving the
        // address loses it to whoever proves it.
        let empty_first = !account.email_verified && !is_signed_in;
        let link = new_link(case, account.id);
        let ended =
            self.store.add_provider_link(link.clone(), Some(&person.email), empty_first).await?;
        if empty_first {
            self.revoke(&[Subject::Account(account.id)]);
        }
        let sessions: Vec<_> = ended.into_iter().map(Subject::Session).collect();
        self.revoke(&sessions);
        self.cache.something_new();
        let how = if empty_first { "email emptied=true" } else { "email" };
        self.linked(case, account.id, how);
        let account = self.store.account(account.id).await?.ok_or(StoreError::NotFound)?;
        let account = self.bring_up_to_date(case, link, account).await?;
        self.make_first_admin_of_provider(case, account).await
    }

    /// Refuses to join; `may_wait`: after the full sign-in one confirmation joins.
    async fn not_joined(
        &self,
        case: &Case<'_>,
        account: &Account,
        reason: &'static str,
        may_wait: bool,
    ) -> Result<Stop, StoreError> {
        let pending = if may_wait { self.wait_for_owner(case, account.id).await? } else { None };
        let id = &case.remote.config.id;
        let detail = format!("provider={id} reason={reason}");
        tracing::info!(
            provider = &**id,
            reason,
            account = %account.id,
            request_id = %case.actor.request_id,
            "provider.link_refused reason={reason}"
        );
        let (actor, now) = (case.actor, case.now);
        self.audit_by(actor, "provider.link_refused", account.id, "failure", detail, now);
        Ok(Stop::Answer(ProviderRefused::LinkRefused { reason, pending }, "link_refused"))
    }

    async fn wait_for_owner(
        &self,
        case: &Case<'_>,
        account: AccountId,
    ) -> Result<Option<String>, StoreError> {
        let active = self.active.load_full();
        let browser = case.callback.browser.as_deref();
        let ring = &active.keyring;
        let Some(browser) =
            browser.and_then(|value| keyring::open(&ring.provider_browser, value.as_bytes()))
        else {
            return Ok(None);
        };
        let person = &case.person;
        let waiting = Waiting {
            provider: case.remote.config.id.to_string(),
            label: case.remote.config.label.clone(),
            issuer: person.issuer.clone(),
            subject: person.subject.clone(),
            display: display(person),
            account: account.to_string(),
            email: person.email.clone(),
        };
        let value = serde_json::to_vec(&waiting)
            .map_err(|_| StoreError::Unavailable("a link cannot be written".into()))?;
        let (token, digest) = keyring::mint(&ring.provider_link)?;
        let (key, end) = (together(&digest, &browser), case.now.plus(FLOW_LIFETIME));
        self.store.put_one_time(OneTimeKind::ProviderLink, key, value, end).await?;
        Ok(Some(token))
    }

    /// Nobody has this identity or this address: a new account, where that is allowed.
    async fn make(&self, case: &Case<'_>) -> Result<Account, Stop> {
        let settings = self.settings();
        let auth = &settings.auth;
        let (config, person) = (&case.remote.config, &case.person);
        let named = self.is_bootstrap_admin(case);
        if !auth.provider_signup && !named {
            return Err(Stop::Answer(ProviderRefused::SignupOff, "signup_off"));
        }
        let role = person.role.unwrap_or(Role::User);
        let approved = role == Role::Admin
            || !auth.approval
            || config.auto_approve
            || !config.allowed_domains.is_empty();
        let wish = person.username.as_deref().map(username_from);
        let local = person.email.split('@').next().unwrap_or_default();
        let id = AccountId(uuid::Uuid::new_v4());
        let new = NewAccount {
            id,
            username: wish.filter(|name| name != "user").unwrap_or_else(|| username_from(local)),
            email: Some(person.email.clone()),
            email_verified: person.email_verified,
            name: crate::account::display_name(&person.name),
            role,
            status: if approved { Status::Active } else { Status::Pending },
            groups: person.groups.clone().unwrap_or_default(),
            password_hash: None,
            must_change_password: false,
            created_at: case.now,
        };
        let when = match auth.first_user {
            _ if named => CreateCondition::NoAdminBecomesAdmin,
            FirstUser::Admin if auth.bootstrap_admin.is_none() => {
                CreateCondition::FirstBecomesAdmin
            }
            _ => CreateCondition::Always,
        };
        let closes_setup =
            auth.first_user == FirstUser::Setup && self.store.count_accounts().await? == 0;
        let link = ProviderLink { role: person.role, ..new_link(case, id) };
        let account = self.store.create_linked_account(new, when, link).await?;
        if closes_setup && account.role != Role::Admin {
            tracing::warn!(
                "somebody signed in at a provider before there was an administrator, and /setup is closed now; make one on the command line: vestibule user role {} admin",
                account.id
            );
        }
        self.cache.something_new();
        let actor = Actor { id: account.id.to_string(), ..case.actor.clone() };
        let detail = format!("method=provider provider={} status={}", config.id, account.status);
        self.audit_by(&actor, "signup", account.id, "success", detail, case.now);
        if named && account.role == Role::Admin {
            self.tell_bootstrap(case, &account);
        }
        Ok(account)
    }

    /// Writes down what the provider says now: groups, role, name in lists.
    pub(super) async fn bring_up_to_date(
        &self,
        case: &Case<'_>,
        link: ProviderLink,
        account: Account,
    ) -> Result<Account, StoreError> {
        let link = ProviderLink {
            provider: case.remote.config.id.to_string(),
            display: display(&case.person),
            last_used_at: case.now,
            ..link
        };
        self.sync(link, account, &case.person, case.actor, case.now).await
    }

    /// Groups and role as the provider says them; what an administrator gave besides stays.
    pub(super) async fn sync(
        &self,
        link: ProviderLink,
        account: Account,
        person: &Person,
        actor: &Actor,
        now: vestibule_core::time::UnixMillis,
    ) -> Result<Account, StoreError> {
        let (link, change) = synced(link, &account, person);
        let changes = change.groups.is_some() || change.role.is_some();
        let wanted = changes.then_some(change.clone());
        let updated = match self.store.update_provider_link(link.clone(), wanted).await {
            Err(StoreError::LastAdmin) => {
                tracing::warn!(account = %account.id, "the provider takes the role of the last administrator away; it stays");
                let kept = ProviderLink { role: Some(Role::Admin), ..link };
                let change = AccountChange { role: None, status: None, ..change.clone() };
                let wanted = change.groups.is_some().then_some(change);
                self.store.update_provider_link(kept, wanted).await?
            }
            updated => updated?,
        };
        if updated.groups != account.groups {
            let names: Vec<_> = updated.groups.iter().map(Group::as_str).collect();
            let detail = format!("by=provider groups={}", names.join(","));
            self.audit_by(actor, "user.groups", account.id, "success", detail, now);
        }
        if updated.role != account.role {
            let detail = format!("by=provider role={}", updated.role);
            self.audit_by(actor, "user.role", account.id, "success", detail, now);
        }
        if updated.groups != account.groups || updated.role != account.role {
            self.revoke(&[Subject::Account(account.id)]);
        }
        if updated.role != account.role {
            self.store.mark_sessions_for_rotation(account.id).await?;
        }
        Ok(updated)
    }

    /// `bootstrap_admin`: while there is no administrator, the identity it names is made one.
    async fn make_first_admin_of_provider(
        &self,
        case: &Case<'_>,
        account: Account,
    ) -> Result<Account, Stop> {
        if account.role == Role::Admin
            || !self.is_bootstrap_admin(case)
            || !self.store.make_admin_if_none(account.id).await?
        {
            return Ok(account);
        }
        self.revoke(&[Subject::Account(account.id)]);
        self.store.mark_sessions_for_rotation(account.id).await?;
        let account = self.store.account(account.id).await?.ok_or(StoreError::NotFound)?;
        self.tell_bootstrap(case, &account);
        Ok(account)
    }

    fn is_bootstrap_admin(&self, case: &Case<'_>) -> bool {
        let settings = self.settings();
        let person = &case.person;
        settings.auth.bootstrap_admin.as_ref().is_some_and(|(provider, who)| {
            **provider == *case.remote.config.id
                && (**who == *person.subject || person.username.as_deref() == Some(&**who))
        })
    }

    fn tell_bootstrap(&self, case: &Case<'_>, account: &Account) {
        let settings = self.settings();
        let who = settings.auth.bootstrap_admin.as_ref().map(|(_, who)| who.clone());
        let by = if who.as_deref() == Some(&*case.person.subject) { "subject" } else { "username" };
        tracing::warn!(
            account = %account.id,
            by,
            subject = case.person.subject,
            "the identity of auth.bootstrap_admin is the administrator now; the setting has done its work"
        );
        let detail = format!("by=bootstrap_admin match={by} role=admin");
        self.audit_by(case.actor, "user.role", account.id, "success", detail, case.now);
    }

    /// Notes that an identity was joined.
    pub(super) fn linked(&self, case: &Case<'_>, account: AccountId, how: &str) {
        let id = &case.remote.config.id;
        let detail = format!("provider={id} by={how}");
        self.audit_by(case.actor, "provider.linked", account, "success", detail, case.now);
    }
}

/// `allowed_domains`, at every sign-in and renewal: of an address that the provider calls
/// proved. For Google the account itself must belong to such a domain (`hd`): a personal Google
/// account may carry a company's address that its owner has long left.
pub(super) fn is_of_allowed_domain(config: &Provider, person: &Person) -> bool {
    let listed = |domain: &str| config.allowed_domains.iter().any(|allowed| **allowed == *domain);
    if config.allowed_domains.is_empty() {
        return true;
    }
    let domain = person.email.rsplit_once('@').map(|(_, domain)| domain).unwrap_or_default();
    let by_account = match (config.kind, person.hosted_domain.as_deref()) {
        (ProviderKind::Google, Some(hosted)) => listed(hosted),
        (ProviderKind::Google, None) => matches!(domain, "gmail.com" | "googlemail.com"),
        _ => true,
    };
    person.email_verified && listed(domain) && by_account
}

/// A new link to the account.
pub(super) fn new_link(case: &Case<'_>, account: AccountId) -> ProviderLink {
    let person = &case.person;
    ProviderLink {
        issuer: person.issuer.clone(),
        subject: person.subject.clone(),
        account,
        provider: case.remote.config.id.to_string(),
        display: display(person),
        groups: person.groups.clone().unwrap_or_default(),
        role: None,
        linked_at: case.now,
        last_used_at: case.now,
    }
}

/// How a person is called in lists: never by the subject, which may be anything.
fn display(person: &Person) -> String {
    let name = person.username.as_deref().unwrap_or(&person.email);
    crate::account::display_name(name)
}

/// The link with what the provider says now, and how the account changes by it.
fn synced(link: ProviderLink, account: &Account, person: &Person) -> (ProviderLink, AccountChange) {
    let mut change = AccountChange::default();
    let mut link = link;
    if let Some(told) = &person.groups {
        let mut groups: Vec<Group> =
            account.groups.iter().filter(|group| !link.groups.contains(group)).cloned().collect();
        groups.extend(told.iter().cloned());
        groups.sort();
        groups.dedup();
        if *account.groups != *groups {
            change.groups = Some(groups);
        }
        link.groups.clone_from(told);
    }
    if person.groups.is_none() {
        // Nothing was asked about groups, so nothing is known about roles.
        return (link, change);
    }
    let granted = link.role == Some(Role::Admin);
    // Whom an administrator shut out, no provider lets in again.
    let may_rise = matches!(account.status, Status::Active | Status::Pending);
    match person.role {
        Some(Role::Admin) if account.role != Role::Admin && may_rise => {
            change.role = Some(Role::Admin);
            change.status = Some(Status::Active);
        }
        Some(Role::User) | None if granted && account.role == Role::Admin => {
            change.role = Some(Role::User);
        }
        _ => {}
    }
    // A role that the account had before from elsewhere is not the provider's to take away.
    link.role = match person.role {
        Some(Role::Admin) if !granted && (account.role == Role::Admin || !may_rise) => link.role,
        role => role,
    };
    (link, change)
}
