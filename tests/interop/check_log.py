"""Checks a ledger with PyPI `aics-tlog`, a C2SP log library of another author: root, checkpoint and receipts.

    check_log.py --headers headers.jsonl --checkpoint FILE --vkey-file FILE [--origin NAME] [--receipt FILE]...

`headers.jsonl` holds every header from entry 0 on, exact bytes, one per line. The checkpoint's size may be less than the
number of lines, never more. A receipt is a C2SP `tlog-proof` text whose `extra` is a header.

Prints {"ok": true, "origin", "size", "root", "receipts": [{"index", "size"}]} and exits 0, or {"ok": false, "error"} and
exits 1.
"""

import argparse
import base64
import json
import pathlib
import sys

import aics_tlog

PROOF_HEAD = "c2sp.org/tlog-proof@v1"


class Refused(Exception):
    """What does not hold, in words."""


def require(held, what):
    if not held:
        raise Refused(what)


def checked_checkpoint(note, vkey, origin, tree):
    """The checkpoint of a signed note: signed by that key alone, over the tree that the headers really give."""
    result = aics_tlog.verify_checkpoint(aics_tlog.parse_note(note), vkey, expected_origin=origin)
    require(result.ok, f"checkpoint: {result.error}")
    require(result.size <= tree.size, f"checkpoint of {result.size} entries over {tree.size} headers")
    require(result.root == tree.root(result.size), f"root at {result.size} is another than the headers give")
    return result


def check_receipt(text, vkey, origin, headers, tree):
    """One receipt: its header is the entry of that number, and its own path leads to its own signed root."""
    proof, _, note = text.partition("\n\n")
    head, *rest = proof.split("\n")
    require(head == PROOF_HEAD, f"a receipt starts with {head!r}")
    require(rest and rest[0].startswith("extra "), "a receipt without its header")
    header = base64.b64decode(rest[0].removeprefix("extra "), validate=True)
    require(len(rest) > 1 and rest[1].startswith("index "), "a receipt without its index")
    index = int(rest[1].removeprefix("index "))
    path = [base64.b64decode(line, validate=True) for line in rest[2:]]

    checkpoint = checked_checkpoint(note, vkey, origin, tree)
    require(index < len(headers) and headers[index] == header, f"receipt {index} is for another header")
    held = aics_tlog.verify_leaf_inclusion(header, index, checkpoint.size, path, checkpoint.root)
    require(held, f"receipt {index}: its path does not lead to its root")
    return {"index": index, "size": checkpoint.size}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--headers", required=True, type=pathlib.Path)
    parser.add_argument("--checkpoint", required=True, type=pathlib.Path)
    parser.add_argument("--vkey-file", required=True, type=pathlib.Path)
    parser.add_argument("--origin")
    parser.add_argument("--receipt", action="append", default=[], type=pathlib.Path)
    args = parser.parse_args()

    try:
        lines = args.headers.read_bytes().split(b"\n")
        require(lines.pop() == b"", "the last header does not end its line")
        vkey = aics_tlog.parse_vkey(args.vkey_file.read_text().strip())
        tree = aics_tlog.MerkleTree(lines)
        checkpoint = checked_checkpoint(args.checkpoint.read_text(), vkey, args.origin, tree)
        receipts = [check_receipt(file.read_text(), vkey, args.origin, lines, tree) for file in args.receipt]
    except (Refused, ValueError) as error:
        print(json.dumps({"ok": False, "error": str(error)}))
        return 1
    print(json.dumps({
        "ok": True,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": base64.b64encode(checkpoint.root).decode(),
        "receipts": receipts,
    }))
    return 0


if __name__ == "__main__":
    sys.exit(main())
