"""Judges enrolments and assertions of passkeys with PyPI `webauthn`, a relying party by others.

    python check_passkey.py  <[{"rp", "origin", "challenge", "kind": "enrol" | "sign", …}, …]

Binary is base64url. Prints {"ok": true, "said": [{"ok": true, …} or {"ok": false, "error"}, …]}, one for each, in order.
"""

import json
import sys

import cbor2
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException


def credential(case, response):
    response["clientDataJSON"] = case["client_data"]
    return {"id": case["credential"], "rawId": case["credential"], "type": "public-key", "response": response}


def enrolled(case, expected):
    data = base64url_to_bytes(case["authenticator_data"])
    attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
    response = {"attestationObject": bytes_to_base64url(attestation)}
    found = verify_registration_response(credential=credential(case, response), **expected)
    key = bytes_to_base64url(found.credential_public_key)
    return {"ok": True, "credential": bytes_to_base64url(found.credential_id), "cose": key, "count": found.sign_count,
            "aaguid": found.aaguid, "backed_up": found.credential_backed_up}


def signed(case, expected):
    response = {"authenticatorData": case["authenticator_data"], "signature": case["signature"]}
    found = verify_authentication_response(
        credential=credential(case, response),
        credential_public_key=base64url_to_bytes(case["cose"]),
        credential_current_sign_count=case["count"],
        **expected,
    )
    return {"ok": True, "count": found.new_sign_count}


def judge(case):
    expected = {
        "expected_challenge": base64url_to_bytes(case["challenge"]),
        "expected_rp_id": case["rp"],
        "expected_origin": case["origin"],
        "require_user_verification": True,
    }
    try:
        return enrolled(case, expected) if case["kind"] == "enrol" else signed(case, expected)
    except WebAuthnException as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


print(json.dumps({"ok": True, "said": [judge(case) for case in json.load(sys.stdin)]}))
