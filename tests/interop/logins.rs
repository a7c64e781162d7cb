//! npm `oidc-provider`, a certified OpenID provider, as the identity provider of people: who signs in there is somebody
//! here, by authorization code with PKCE, and may add a passkey.

use std::fmt::Write as _;
use std::process::Command;

use reqwest::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use stint_tests::passkey::Passkey;
use stint_tests::process::{Stintd, program};
use tempfile::TempDir;

use crate::foreign::{self, Talk};
use crate::issued::write;
use crate::provider::{Places, URL};

#[tokio::test]
async fn who_signs_in_at_a_foreign_provider_is_somebody_here() {
    let places = Places::new();
    for algorithm in ["ES256", "RS256"] {
        let mut site = Site::serve(&places, algorithm).await;
        let mut dana = Browser::new(&places, &site);
        assert_eq!(dana.sign_in("/login/start", "as/dana").await.status(), 303);
        let me = dana.json("/v1/me").await;
        assert_eq!(me["name"], "Dana Ortiz", "{me}");
        assert_eq!(me["email"], "dana@acme.dev", "{me}");
        assert_eq!(me["groups"], json!(["sre"]), "{me}");
        // Its keys are other ones now, and it is asked again who that is: `max_age`, `auth_time`.
        site.idp.ask("rotate");
        let fresh = dana.sign_in("/login/start?fresh", "as/dana").await;
        assert_eq!(fresh.status(), 303, "{}", site.log());
        assert_eq!(dana.enrol().await, 201);

        let mut kim = Browser::new(&places, &site);
        assert_eq!(kim.sign_in("/login/start", "as/kim").await.status(), 303);
        let me = kim.json("/v1/me").await;
        assert_eq!(me["email"], Value::Null, "nobody verified it: {me}");
        assert_ne!(me["id"], dana.json("/v1/me").await["id"]);
    }
}

#[tokio::test]
async fn who_turns_back_there_or_cannot_get_there_is_nobody_here() {
    let places = Places::new();
    let mut site = Site::serve(&places, "ES256").await;
    let mut dana = Browser::new(&places, &site);
    let back = dana.sign_in("/login/start", "no").await;
    assert_eq!(back.status(), 403);
    let text = back.text().await.unwrap();
    assert!(!text.contains("they turned back"), "{text}");
    assert_eq!(dana.get("/v1/me").await.status(), 401);

    assert_eq!(dana.sign_in("/login/start", "as/dana").await.status(), 303);
    site.idp.end();
    let mut kim = Browser::new(&places, &site);
    let begun = kim.get("/login/start").await;
    // Its document is known: the browser goes there, and finds it away. Whoever is signed in goes on.
    assert_eq!(begun.status(), 303);
    let back = format!("{URL}/login/callback?error=server_error");
    assert_eq!(kim.came_back(&back, &begun).await.status(), 403);
    assert_eq!(dana.get("/v1/me").await.status(), 200);
}

/// A broker whose people sign in at a provider of their own.
struct Site {
    stintd: Stintd,
    idp: Talk,
    folder: TempDir,
}

impl Site {
    /// What the broker said.
    fn log(&self) -> String {
        stint_tests::process::said(&self.folder.path().join("site"))
    }

    async fn serve(places: &Places, algorithm: &str) -> Site {
        let mut command = foreign::node("oidc-people.mjs");
        command.args(["--alg", algorithm, "--redirect"]);
        command.arg(format!("{URL}/login/callback"));
        command.arg("--cert").arg(&places.cert);
        let mut idp = Talk::start(command.arg("--key").arg(&places.key));
        let ready: Value = serde_json::from_str(&idp.hear()).unwrap();
        let word = |name: &str| ready[name].as_str().unwrap().to_owned();

        let folder = tempfile::Builder::new()
            .tempdir_in(places.folder.path())
            .unwrap();
        let site = folder.path().join("site");
        let mut init = Command::new(program("stintd"));
        let init = init.arg("init").arg(&site);
        let said = foreign::run(init.args(["--url", URL, "--trust-domain", "acme.dev"]), "");
        assert!(said.ok, "{said:?}");
        let mut config = std::fs::read_to_string(site.join("stint.toml")).unwrap();
        let secret = site.join("oidc-secret");
        stint_tests::files::write_secret(&secret, word("client_secret").as_bytes());
        write!(
            config,
            "\n[people]\nissuer = \"{}\"\nclient_id = \"{}\"\nclient_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n\
             allow_private = [\"127.0.0.0/8\"]\n",
            word("issuer"),
            word("client_id"),
            secret.display(),
            places.cert.display(),
        )
        .unwrap();
        write(&site, "stint.toml", &config);
        Site {
            stintd: Stintd::serve(&site, &config, None).await,
            idp,
            folder,
        }
    }
}

/// A browser, as far as a login needs one: it keeps the cookies of both sides, and goes where it is sent.
struct Browser {
    client: Client,
    api: String,
    there: Vec<String>,
    here: Vec<String>,
}

impl Browser {
    fn new(places: &Places, site: &Site) -> Browser {
        let root = std::fs::read(&places.cert).unwrap();
        let root = reqwest::Certificate::from_pem(&root).unwrap();
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .add_root_certificate(root);
        Browser {
            client: client.build().unwrap(),
            api: format!("http://{}", site.stintd.api),
            there: Vec::new(),
            here: Vec::new(),
        }
    }

    /// From `path` to the provider, where it does `act`, and back: the callback's answer.
    async fn sign_in(&mut self, path: &str, act: &str) -> Response {
        let begun = self.get(path).await;
        assert_eq!(begun.status(), 303, "{}", begun.text().await.unwrap());
        let page = self.visit(&sent(&begun)).await;
        assert_eq!(page.status(), 303, "{}", page.text().await.unwrap());
        let issuer = sent(&begun);
        let origin = issuer.split_once("/auth").unwrap().0.to_owned();
        let page = absolute(&origin, &sent(&page));
        let done = self.visit(&format!("{page}/{act}")).await;
        assert_eq!(done.status(), 303, "{}", done.text().await.unwrap());
        let back = self.visit(&absolute(&origin, &sent(&done))).await;
        assert_eq!(back.status(), 303, "{}", back.text().await.unwrap());
        let back = sent(&back);
        self.came_back(&back, &begun).await
    }

    /// Back from the provider, with what `begun` gave to carry.
    async fn came_back(&mut self, back: &str, begun: &Response) -> Response {
        let path = back.strip_prefix(URL).unwrap();
        keep(&mut self.here, begun);
        let answer = self.get(path).await;
        keep(&mut self.here, &answer);
        answer
    }

    /// A page of the provider.
    async fn visit(&mut self, url: &str) -> Response {
        let request = self.client.get(url).header(COOKIE, self.there.join("; "));
        let answer = request.send().await.unwrap();
        keep(&mut self.there, &answer);
        answer
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.api));
        let request = request
            .header(HOST, HERE)
            .header(COOKIE, self.here.join("; "));
        request.send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self.client.post(format!("{}{path}", self.api));
        let request = request
            .header(HOST, HERE)
            .header(COOKIE, self.here.join("; "))
            .header("origin", URL)
            .header("sec-fetch-site", "same-origin");
        request.json(body).send().await.unwrap()
    }

    /// Adds a passkey, as the page does.
    async fn enrol(&self) -> u16 {
        let options = self.post("/v1/me/passkeys/options", &json!({})).await;
        let options: Value = options.json().await.unwrap();
        let answer = self
            .post("/v1/me/passkeys", &Passkey::new(HERE, URL).offer(&options))
            .await;
        answer.status().as_u16()
    }
}

fn sent(answer: &Response) -> String {
    answer.headers()[LOCATION].to_str().unwrap().to_owned()
}

fn absolute(origin: &str, to: &str) -> String {
    match to.starts_with('/') {
        true => format!("{origin}{to}"),
        false => to.to_owned(),
    }
}

/// Keeps the cookies that an answer sets, in place of those of the same name.
fn keep(jar: &mut Vec<String>, answer: &Response) {
    for cookie in answer.headers().get_all(SET_COOKIE) {
        let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
        let name = cookie.split('=').next().unwrap();
        jar.retain(|had| had.split('=').next() != Some(name));
        jar.push(cookie.to_owned());
    }
}

/// The broker's host.
const HERE: &str = "stint.test";
