//! What a page sends of a passkey: when it is added, and when it signs a ballot.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::passkey::Passkey;

impl Passkey {
    /// The body of `POST /v1/me/passkeys`, as the page makes it of these options.
    ///
    /// # Panics
    /// When there is no challenge in them.
    #[must_use]
    pub fn offer(&self, options: &Value) -> Value {
        let (_, authenticator_data, client_data) = self.enrol(&challenge(options));
        json!({
            "label": "Laptop", "nonce": options["nonce"], "authenticator_data": BASE64URL_NOPAD.encode(&authenticator_data),
            "client_data": BASE64URL_NOPAD.encode(&client_data),
        })
    }

    /// The body of `POST /v1/requests/{id}/votes`, as the page makes it of this ballot.
    ///
    /// # Panics
    /// When there is no challenge in it.
    #[must_use]
    pub fn vote(&self, ballot: &Value) -> Value {
        let assertion = serde_json::to_value(self.sign(&challenge(ballot))).unwrap();
        json!({ "facts": ballot["facts"], "nonce": ballot["nonce"], "assertion": assertion })
    }
}

fn challenge(asked: &Value) -> Vec<u8> {
    let text = asked["challenge"].as_str();
    let text = text.unwrap_or_else(|| panic!("no challenge: {asked}"));
    BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
}
