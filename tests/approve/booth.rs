//! Somebody before a request, with a passkey.

use serde_json::{Value, json};
use stint_tests::TestBroker;
use stint_tests::answer::Answer;
use stint_tests::broker::Setup;
use stint_tests::caller::Asking;
use stint_tests::passkey::Passkey;
use stint_tests::people::Person;

pub(crate) const PROD: &str = "Environment::prod/web";

/// An approver who can sign.
pub(crate) struct Approver<'b> {
    pub(crate) person: Person<'b>,
    pub(crate) passkey: Passkey,
}

/// A broker where one SRE is enough.
pub(crate) fn one_approver() -> Setup {
    TestBroker::with()
        .people()
        .policy("tests/sample.toml", "")
        .replace("web.cedar", "@quorum(\"2\")", "@quorum(\"1\")")
        .replace("web.cedar", "votes: 2", "votes: 1")
}

/// The sample's deployment of production: the same ask each time, with a fresh token of the same run.
pub(crate) fn deploy(broker: &TestBroker) -> Asking<'_> {
    broker.ci("acme/web").job("7001").ask("deploy", PROD)
}

pub(crate) async fn approver<'b>(broker: &'b TestBroker, name: &str) -> Approver<'b> {
    let person = broker.signed_in(name).await;
    let passkey = person.passkey().await;
    Approver { person, passkey }
}

impl Approver<'_> {
    pub(crate) async fn ballot(&self, request: &str, choice: &Value) -> Answer {
        let path = format!("/v1/requests/{request}/ballot");
        self.person.post(&path, choice).await
    }

    pub(crate) async fn sign(&self, request: &str, ballot: &Value) -> Answer {
        self.sign_with(&self.passkey, request, ballot).await
    }

    pub(crate) async fn sign_with(
        &self,
        passkey: &Passkey,
        request: &str,
        ballot: &Value,
    ) -> Answer {
        self.cast(request, &passkey.vote(ballot)).await
    }

    pub(crate) async fn cast(&self, request: &str, vote: &Value) -> Answer {
        let path = format!("/v1/requests/{request}/votes");
        self.person.post(&path, vote).await
    }

    /// The whole of it; the vote as it was answered.
    pub(crate) async fn says(&self, request: &str, choice: &Value) -> Answer {
        let ballot = self.ballot(request, choice).await;
        assert_eq!(ballot.status, 200, "{}", ballot.text());
        self.sign(request, &ballot.json()).await
    }
}

pub(crate) fn yes(code: &str) -> Value {
    json!({ "vote": "yes", "match_code": code })
}

pub(crate) fn no() -> Value {
    json!({ "vote": "no", "note": "not on a Friday" })
}
