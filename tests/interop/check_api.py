"""Schemathesis on docs/openapi.json against a running broker: no 5xx, no answer that the document does not have.

    check_api.py DOCUMENT URL EXAMPLES CSR < TOKENS

stdin has evidence, one token a line: each request with good evidence takes a fresh one. The same seed each time. Prints
a JSON object: for each operation how many requests were answered with which status.
"""

import json
import sys
from collections import Counter

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

CHECK_NAMES = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]


def main():
    document, url, examples = sys.argv[1], sys.argv[2], int(sys.argv[3])
    tokens = iter(sys.stdin.read().split())
    schema = schemathesis.openapi.from_path(document)
    checks = [CHECKS.get_one(name) for name in CHECK_NAMES]
    said = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        name = f"{operation.method.upper()} {operation.path}"
        said[name] = Counter()
        modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
        if "{place}" in operation.path:
            modes.remove(GenerationMode.POSITIVE)
            ask_places(operation, url, checks, said[name])
        for mode in modes:
            run(operation, mode, (url, tokens, checks, examples, said[name]))
    print(json.dumps(said))


def run(operation, mode, terms):
    url, tokens, checks, examples, said = terms
    strategy = operation.as_strategy(generation_mode=mode)

    @hypothesis.seed(20270301)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=strategy)
    def ask(case):
        headers = {"Host": "localhost:8640"}
        nth = said.total()
        # Nobody is signed in here: what wants a session is asked without.
        if any("evidence" in scheme for scheme in operation.definition.raw.get("security", [])):
            headers["Authorization"] = f"Bearer {next(tokens)}"
            if nth % 4:
                case.headers.pop("DPoP", None)  # generated proofs never hold
        if mode == GenerationMode.POSITIVE and nth % 2 and isinstance(case.body, dict):
            make_sensible(case, nth // 2)
            if "subject_token" in case.body:
                case.body["subject_token"] = next(tokens)
        response = case.call(base_url=url, headers=headers)
        said[response.status_code] += 1
        case.validate_response(response, checks=checks)

    try:
        ask()
    except hypothesis.errors.Unsatisfiable:
        # There may be nothing in it that could be wrong.
        if mode == GenerationMode.POSITIVE:
            raise


def ask_places(operation, url, checks, said):
    """A tile's place has slashes, which the generator puts into no path: what the pattern means, by hand."""
    for level in ("0", "1", "7"):
        for place in PLACES:
            parts = {"level": level, "place": place, "epoch": "0"}
            names = {parameter.name for parameter in operation.path_parameters}
            case = operation.Case(path_parameters={name: parts[name] for name in names})
            path = operation.path.format(**parts)
            response = requests.get(url + path, headers={"Host": "localhost:8640"}, timeout=10)
            said[response.status_code] += 1
            case.validate_response(response, checks=checks)


def make_sensible(case, nth):
    """Words that the sample policies know: generated ones never come as far as a decision."""
    case.headers.pop("DPoP", None)
    case.headers.pop("Idempotency-Key", None)
    asked = {"action": "deploy", "resources": [RESOURCES[nth % len(RESOURCES)]]}
    if "grant_type" in case.body:
        details = [{"type": "stint_task", **asked}]
        for name in ("scope", "resource", "csr", "spki"):
            case.body.pop(name, None)
        case.body["requested_token_type"] = "urn:ietf:params:oauth:token-type:jwt"
        case.body["audience"] = AUDIENCE
        case.body["authorization_details"] = json.dumps(details)
        return
    for name in ("input", "task", "on_behalf_of", "audience"):
        case.body.pop(name, None)
    case.body.update(asked)
    jwt = {"kind": "jwt", "audience": AUDIENCE}
    case.body["credential"] = jwt if nth % 2 else {"kind": "x509", "csr": sys.argv[4]}


RESOURCES = ["Environment::staging/web", "Environment::prod/web", "Environment::prod/other"]
AUDIENCE = "https://registry.acme.dev"
PLACES = ["000", "000.p/1", "001", "001.p/255", "x001/000", "x001/x002/003.p/7"]

main()
