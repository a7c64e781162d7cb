"""Serialises every header and body of a ledger anew with PyPI `rfc8785` (JCS, RFC 8785): the same bytes must come out.

    check_canonical.py HEADERS.jsonl BODIES.tsv

Prints {"ok": true, "headers", "bodies"} and exits 0, or {"ok": false, "error"} and exits 1.
"""

import json
import sys

import rfc8785


def check(name, lines):
    for number, line in enumerate(lines):
        if rfc8785.dumps(json.loads(line)) != line:
            raise ValueError(f"{name} {number} is another after it was parsed and written")
    return len(lines)


def main():
    headers = open(sys.argv[1], "rb").read().splitlines()
    bodies = [line.split(b"\t", 1)[1] for line in open(sys.argv[2], "rb").read().split(b"\n") if line]
    try:
        print(json.dumps({"ok": True, "headers": check("header", headers), "bodies": check("body", bodies)}))
    except ValueError as error:
        print(json.dumps({"ok": False, "error": str(error)}))
        sys.exit(1)


main()
