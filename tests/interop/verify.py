"""Verifies a JWT by a key set, offline, with PyPI `joserfc`, as a relying party that federates to us would.

    python verify.py  <{"token", "jwks", "iss", "aud", "algorithms"}

Prints {"ok": true, "header", "claims"} and exits 0, or {"ok": false, "error"} and exits 1.
"""

import json
import sys

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet


def main() -> int:
    given = json.load(sys.stdin)
    try:
        keys = KeySet.import_key_set(given["jwks"])
        token = jwt.decode(given["token"], keys, algorithms=given["algorithms"])
        expected = {name: {"essential": True, "value": given[name]} for name in ("iss", "aud")}
        # The test's clock is not this machine's.
        jwt.JWTClaimsRegistry(now=given["now"], **expected).validate(token.claims)
    except JoseError as error:
        print(json.dumps({"ok": False, "error": error.error}))
        return 1
    print(json.dumps({"ok": True, "header": token.header, "claims": token.claims}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
