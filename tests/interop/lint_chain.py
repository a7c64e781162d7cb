"""Lints a leaf, its issuing CA and the root with PyPI `pkilint`, each alone and each with its issuer.

    lint_chain.py --leaf leaf.pem --issuing issuing.pem --root root.pem

Prints {"ok", "findings": [{"certificate", "severity", "code", "node", "message", "accepted"}]}; exits 1 if any finding
is not an accepted one. There is one: pkilint's URI check knows nine schemes and spiffe is none of them, so
`pkix.invalid_uri_syntax` stands for a spiffe URI, of the CAs only for a trust domain without a path (X509-SVID §2).
"""

import argparse
import contextlib
import io
import json
import re
import sys

from pkilint.bin import lint_pkix_cert, lint_pkix_signer_signee_cert_chain


def lint(tool, name, *files):
    """One run of a pkilint program, in this process: a list of findings. Its own exit code is only a count."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = tool.main(["lint", "--format", "JSON", "--severity", "NOTICE", "--document-format", "PEM", *files])
    try:
        results = json.loads(out.getvalue())["results"]
    except (ValueError, KeyError):
        sys.exit(f"pkilint could not read {name} (status {status})")
    return [
        {
            "certificate": name,
            "severity": finding["severity"],
            "code": finding["code"],
            "node": result["node_path"],
            "message": finding["message"],
            "accepted": accepted(name, finding),
        }
        for result in results
        for finding in result["finding_descriptions"]
    ]


def accepted(name, finding):
    path = "(/[^/]+)+" if name == "leaf" else ""
    return finding["code"] == "pkix.invalid_uri_syntax" and re.fullmatch(
        f'Invalid URI syntax: "spiffe://[a-z0-9._-]+{path}"', finding["message"] or ""
    ) is not None


def main():
    parser = argparse.ArgumentParser()
    for name in ("leaf", "issuing", "root"):
        parser.add_argument(f"--{name}", required=True)
    files = vars(parser.parse_args())

    findings = []
    for name, file in files.items():
        findings += lint(lint_pkix_cert, name, file)
    for issuer, subject in (("issuing", "leaf"), ("root", "issuing")):
        findings += lint(lint_pkix_signer_signee_cert_chain, f"{issuer} over {subject}", files[issuer], files[subject])

    ok = all(finding["accepted"] for finding in findings)
    print(json.dumps({"ok": ok, "findings": findings}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
