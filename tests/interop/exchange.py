"""Exchanges a token at the broker with PyPI `authlib`, and verifies what comes back with PyPI `joserfc`.

    python exchange.py ISSUER CLIENT_ID  <{"subject_token": …, …}      the parameters, without grant_type

Prints {"ok": true, "response", "header", "claims"} and exits 0, or {"ok": false, "error", "description"} and exits 1.
`authlib` takes plain http only with AUTHLIB_INSECURE_TRANSPORT=1: the test's broker is on loopback.
"""

import json
import sys

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"


def main() -> int:
    issuer, client_id = sys.argv[1:]
    parameters = json.load(sys.stdin)
    metadata = requests.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=10).json()
    assert metadata["issuer"] == issuer, metadata
    session = OAuth2Session(client_id, token_endpoint_auth_method="none")
    try:
        response = session.fetch_token(metadata["token_endpoint"], grant_type=GRANT, **parameters)
    except OAuthError as error:
        print(json.dumps({"ok": False, "error": error.error, "description": error.description}))
        return 1
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())
    token = jwt.decode(response["access_token"], keys, algorithms=["ES256", "RS256"])
    expected = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": parameters["audience"]}}
    jwt.JWTClaimsRegistry(**expected).validate(token.claims)
    print(json.dumps({"ok": True, "response": response, "header": token.header, "claims": token.claims}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
