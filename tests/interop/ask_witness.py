"""A log of another author asks a C2SP witness: PyPI `aics-tlog` makes tree, checkpoints and signatures, and the client of
PyPI `aics-witness` submits them; what it does not send is sent here, byte by byte as tlog-witness has it.

    ask_witness.py --url URL --witness VKEY --origin NAME [--vkey]

The log's key is 32 bytes of 0x2a. With --vkey, prints its verifier key and nothing else is done. Otherwise prints
{"ok": true, "statuses": {...}, "held": SIZE} and exits 0, or {"ok": false, "error"} and exits 1.
"""

import argparse
import base64
import hashlib
import json
import sys
import urllib.error
import urllib.request

import aics_tlog
from aics_witness.feeder import WitnessAhead, WitnessClient, WitnessRejected, merge_cosignatures
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEED = b"\x2a" * 32


class Wrong(Exception):
    """What does not hold, in words."""


def require(held, what):
    if not held:
        raise Wrong(what)


class Log:
    """A log of numbered leaves."""

    def __init__(self, origin, word="leaf", seed=SEED):
        self.origin, self.key = origin, Ed25519PrivateKey.from_private_bytes(seed)
        self.tree = aics_tlog.MerkleTree([f"{word} {n}".encode() for n in range(40)])

    def note(self, size, root=None):
        checkpoint = aics_tlog.Checkpoint(origin=self.origin, size=size, root=root or self.tree.root(size))
        text = f"{checkpoint.origin}\n{size}\n{base64.b64encode(checkpoint.root).decode()}\n"
        line = aics_tlog.sign_note(text, self.key, self.origin)
        blob = base64.b64encode(line.key_id + line.signature).decode()
        return f"{text}\n\u2014 {self.origin} {blob}\n"

    def request(self, old, size, proof=None, note=None):
        proof = self.tree.consistency_proof(old, size) if proof is None else proof
        lines = [f"old {old}"] + [base64.b64encode(line).decode() for line in proof]
        return "\n".join(lines) + "\n\n" + (note or self.note(size))


def call(url, body=None):
    """Status, content type and text."""
    request = urllib.request.Request(url, data=body and body.encode(), method="POST" if body else "GET")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"], error.read().decode()


def feed(url, vkey, log):
    """The foreign client, end to end."""
    client = WitnessClient(url, aics_tlog.parse_vkey(vkey))
    for size in (7, 7, 20):
        note = log.note(size)
        lines = client.submit(note, log.tree.consistency_proof)
        merged = merge_cosignatures(note, lines)
        known = [aics_tlog.parse_vkey(vkey)]
        found = aics_tlog.verify_checkpoint(
            aics_tlog.parse_note(merged),
            aics_tlog.vkey_from_ed25519(log.origin, log.key.public_key()),
            witness_keys=known,
            quorum=1,
        )
        require(found.ok, f"cosigned checkpoint: {found.error}")
    try:
        client.submit(log.note(8), log.tree.consistency_proof)
        raise Wrong("a smaller checkpoint was cosigned")
    except WitnessAhead:
        pass
    try:
        other = Log(log.origin, "another history")
        client.submit(other.note(30), other.tree.consistency_proof)
        raise Wrong("a second history was cosigned")
    except WitnessRejected as refused:
        require(refused.status == 422, f"a second history is {refused.status}")


def statuses(url, log):
    """One request for each status of the protocol, when 20 entries are held."""
    stranger = Log(log.origin, seed=b"\x2b" * 32)
    nobody = Log("nobody.example/log")
    fork = log.note(21, root=hashlib.sha256(b"fork").digest())
    asked = {
        "200": log.request(20, 21),
        "400 form": "old x\n\n" + log.note(21),
        "400 old": log.request(21, 21).replace("old 21", "old 22"),
        "403": stranger.request(21, 22),
        "404": nobody.request(0, 5),
        "409": log.request(5, 22),
        "422 proof": log.request(21, 22, proof=[b"\0" * 32]),
        "422 fork": log.request(21, 21, note=fork),
    }
    told = {}
    for name, body in asked.items():
        status, kind, text = call(f"{url}/add-checkpoint", body)
        if status == 409:
            require((kind, text) == ("text/x.tlog.size", "21\n"), f"409 says {kind} {text!r}")
        told[name] = status
    return told


def held(url, vkey, log):
    """The size of the monitoring checkpoint, signed by log and witness."""
    name = hashlib.sha256(log.origin.encode()).hexdigest()
    status, _, text = call(f"{url}/{name}/checkpoint")
    require(status == 200, f"the monitoring checkpoint is {status}")
    own = aics_tlog.vkey_from_ed25519(log.origin, log.key.public_key())
    known = [aics_tlog.parse_vkey(vkey)]
    found = aics_tlog.verify_checkpoint(aics_tlog.parse_note(text), own, witness_keys=known, quorum=1)
    require(found.ok, f"the monitoring checkpoint: {found.error}")
    return found.size


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--witness")
    parser.add_argument("--origin", required=True)
    parser.add_argument("--vkey", action="store_true")
    args = parser.parse_args()
    log = Log(args.origin)
    if args.vkey:
        print(aics_tlog.format_vkey(aics_tlog.vkey_from_ed25519(log.origin, log.key.public_key())))
        return 0
    try:
        feed(args.url, args.witness, log)
        told = statuses(args.url, log)
        size = held(args.url, args.witness, log)
    except (Wrong, ValueError) as error:
        print(json.dumps({"ok": False, "error": str(error)}))
        return 1
    print(json.dumps({"ok": True, "statuses": told, "held": size}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
