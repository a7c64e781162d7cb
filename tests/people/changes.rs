//! A change comes from our own pages, and from nowhere else.

use serde_json::json;
use stint_tests::TestBroker;
use stint_tests::broker::URL;

#[tokio::test(flavor = "multi_thread")]
async fn another_page_changes_nothing() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let before = broker.state().await;
    let json = ("content-type", "application/json");
    let ours = ("origin", URL);
    let same = ("sec-fetch-site", "same-origin");
    for (headers, status) in [
        // No `Origin`, another one, none that can be named, two of them.
        (vec![json, same], 403),
        (
            vec![
                json,
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "cross-site"),
            ],
            403,
        ),
        (vec![json, ("origin", "null")], 403),
        (vec![json, ours, ("origin", "https://evil.example")], 403),
        (vec![json, ("origin", "http://localhost:8641")], 403),
        (vec![json, ("origin", "https://localhost:8640")], 403),
        // Ours, says the page; another site's, says the browser.
        (vec![json, ours, ("sec-fetch-site", "cross-site")], 403),
        (vec![json, ours, ("sec-fetch-site", "same-site")], 403),
        (vec![json, ours, ("sec-fetch-site", "none")], 403),
        // What a form can send.
        (vec![("content-type", "text/plain"), ours, same], 415),
        (
            vec![
                ("content-type", "application/x-www-form-urlencoded"),
                ours,
                same,
            ],
            415,
        ),
        (
            vec![
                ("content-type", "multipart/form-data; boundary=x"),
                ours,
                same,
            ],
            415,
        ),
    ] {
        let answer = dana.post_with("/logout", &headers, b"{}").await;
        assert_eq!(answer.status, status, "{headers:?}");
        let answer = dana
            .post_with("/v1/me/passkeys/options", &headers, b"{}")
            .await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    assert_eq!(broker.state().await, before);
    assert_eq!(dana.get("/v1/me").await.status, 200);
    // GET changes nothing, whatever is asked.
    for path in ["/logout", "/v1/me/passkeys", "/v1/sessions/end"] {
        assert_eq!(dana.get(path).await.status, 404, "{path}");
    }
    // An older browser sends no `Sec-Fetch-Site`.
    assert_eq!(
        dana.post_with("/logout", &[json, ours], b"{}").await.status,
        204
    );
    broker.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cookies_of_one_name_are_none() {
    let broker = TestBroker::with().people().start().await;
    let dana = broker.signed_in("dana").await;
    let twice = format!("{}; {}", dana.cookie, dana.cookie);
    let answer = broker
        .request("GET", "/v1/me", &[("cookie", &twice)], b"")
        .await;
    assert_eq!(answer.status, 401);
    let beside = format!("theme=dark; {}; x=y", dana.cookie);
    let answer = broker
        .request("GET", "/v1/me", &[("cookie", &beside)], b"")
        .await;
    assert_eq!(answer.status, 200);
    let hashed = format!(
        "stint-session={}",
        dana.get("/v1/me").await.json()["sessions"][0]["id"]
            .as_str()
            .unwrap()
    );
    let answer = broker
        .request("GET", "/v1/me", &[("cookie", &hashed)], b"")
        .await;
    assert_eq!(answer.status, 401, "its name is no secret of it");
    assert_eq!(dana.post("/logout", &json!({})).await.status, 204);
    broker.finish().await;
}
