//! A provider beside the portal under test, and browsers that go there and come back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};

use vestibule_core::settings::Settings;
use vestibule_core::settings::provider::spec::{ProviderContext, ProviderSpec};
use vestibule_core::settings::provider::{Provider, ProviderOrigin};
use vestibule_testkit::provider::Op;
use vestibule_testkit::{Client, Request, parameters};

use crate::stage::{Answer, Ask, Browser, Stage, encode};

/// The keys of `[[provider]]` for this one.
pub(crate) fn spec(op: &Op, id: &str) -> ProviderSpec {
    ProviderSpec {
        id: id.to_owned(),
        issuer: Some(op.issuer().to_owned()),
        client_id: op.client_id().to_owned(),
        client_secret: Some(vestibule_core::secret::Secret::new(op.client_secret())),
        ..ProviderSpec::default()
    }
}

/// The provider as the settings hold it.
pub(crate) fn resolved(
    settings: &Settings,
    spec: &ProviderSpec,
    origin: ProviderOrigin,
) -> Provider {
    let context = ProviderContext {
        portal: &settings.server.portal,
        development: settings.server.development,
        default_redirect_uri: &settings.server.provider_redirect_uri,
        origin,
    };
    spec.resolve(&context).expect("a good provider")
}

/// A portal with one provider, `corp` with the label Corp, told by the file.
pub(crate) async fn stage(op: &Op, change: impl FnOnce(&mut Settings, &mut ProviderSpec)) -> Stage {
    let mut spec = ProviderSpec { label: Some("Corp".to_owned()), ..spec(op, "corp") };
    let stage = Stage::with(|settings| {
        change(settings, &mut spec);
        settings.providers.push(resolved(settings, &spec, ProviderOrigin::File));
    })
    .await;
    set_clock(op, &stage);
    stage
}

/// The provider lives at the time of the stage.
#[allow(clippy::disallowed_methods, reason = "the provider keeps the clock of the machine")]
pub(crate) fn set_clock(op: &Op, stage: &Stage) {
    let machine = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    op.clock(stage.now().secs() - i64::try_from(machine).unwrap());
}

/// What the query of a URL says.
pub(crate) fn query(url: &str) -> BTreeMap<String, String> {
    let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    parameters(query).into_iter().collect()
}

/// Goes to the provider as this person and is sent back: the URL of the callback.
pub(crate) fn at_provider(location: &str, person: &str) -> String {
    let authority = location.split('/').nth(2).unwrap();
    let address: SocketAddr = authority.parse().unwrap();
    let request = Request::get(location).header("Cookie", format!("person={person}")).navigation();
    let answer = Client::plain(address).send(&request).expect(302);
    answer.location().to_owned()
}

impl Browser<'_> {
    /// Follows the button of a provider; the answer that leads there.
    pub(crate) async fn start_with(&mut self, id: &str, rd: &str) -> Answer {
        self.open(&format!("/api/v1/auth/login/{id}?rd={}", encode(rd))).await
    }

    /// Signs in at the provider as this person; the answer of the callback.
    pub(crate) async fn sign_in_with(&mut self, id: &str, person: &str, rd: &str) -> Answer {
        let start = self.start_with(id, rd).await;
        assert_eq!(start.status, StatusCode::FOUND, "{}", start.body);
        self.open_from_outside(&at_provider(start.location(), person)).await
    }

    /// A navigation that another site led to.
    pub(crate) async fn open_from_outside(&mut self, url: &str) -> Answer {
        let ask = Ask::new(Method::GET, url)
            .header("accept", "text/html")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", "cross-site");
        self.send(ask).await
    }

    /// Whether somebody is signed in.
    pub(crate) async fn is_signed_in(&mut self) -> bool {
        let me = self.send(Ask::new(Method::GET, "/api/v1/auth/me")).await;
        me.status == StatusCode::OK
    }
}
