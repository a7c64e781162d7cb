#!/usr/bin/env python3
"""Proves that what a sink of Stint was sent is all of the ledger, unchanged and in order.

    check.py --key VKEY [--state FILE] [STREAM...]

STREAM is what the receiver stored, in the order it came: JSON lines of a `[sink.NAME]` of kind jsonl, ocsf or
cloudevents, syslog messages with such a line in them, or batches of CloudEvents; `-` or none is stdin. VKEY is the log's
verifier key, from `stintd init` or GET /v1/trust: bring it by another road than the stream.

What is checked, of each entry: the numbers go 0, 1, 2 ... without a gap; the header hashes to the leaf; `prev` is the
leaf before; all are of one log; a body hashes to what its header says. Of each heartbeat: the checkpoint is signed by the
key, and the tree over the received leaves has its root. An entry that came twice must be the same both times.

--state keeps how far it got (entry count, subtree roots), so that the next run needs the next file only.

Exit: 0 all received entries are proven but perhaps the last few, which came after the last heartbeat; 8 something is
missing or was changed, the first such thing is named; 9 nothing is proven yet. Python 3.9 and `openssl` 3 are all it needs.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile


class Failed(Exception):
    """Something is missing or was changed."""


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def canonical(value):
    """RFC 8785, as far as the ledger goes: no fractions, no null. After this a header or body has its stored bytes,
    whatever it went through on its way here."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
    raise Failed(f"{value!r} is in no entry")


def canonical_bytes(value):
    try:
        return canonical(value).encode()
    except UnicodeEncodeError:
        raise Failed("a text is no Unicode") from None


class Tree:
    """The roots of the perfect subtrees of an RFC 6962 tree, largest first, each with its size."""

    def __init__(self):
        self.size = 0
        self.roots = []

    def push(self, leaf):
        node, size = leaf, 1
        while self.roots and self.roots[-1][0] == size:
            left = self.roots.pop()[1]
            node, size = hashlib.sha256(b"\x01" + left + node).digest(), size * 2
        self.roots.append((size, node))
        self.size += 1

    def root(self):
        if not self.roots:
            return hashlib.sha256(b"").digest()
        node = self.roots[-1][1]
        for _, left in reversed(self.roots[:-1]):
            node = hashlib.sha256(b"\x01" + left + node).digest()
        return node


class Key:
    """A C2SP verifier key: NAME+hex(id)+base64(type and key)."""

    def __init__(self, vkey):
        try:
            self.name, ident, key = vkey.strip().split("+", 2)
            key = base64.b64decode(key, validate=True)
        except ValueError:
            raise SystemExit("error     --key is not NAME+ID+KEY") from None
        self.id = bytes.fromhex(ident)
        if len(key) != 33 or key[0] != 1:
            raise SystemExit("error     --key is not an Ed25519 key")
        if hashlib.sha256(self.name.encode() + b"\n" + key).digest()[:4] != self.id:
            raise SystemExit("error     --key: its parts do not belong together")
        self.key = key[1:]

    def checkpoint(self, note):
        """Size and root of a checkpoint that this key signed."""
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        for line in signatures.splitlines():
            mark, name, sig = (line.split(" ", 2) + ["", ""])[:3]
            sig = base64.b64decode(sig)
            if mark == "\u2014" and name == self.name and sig[:4] == self.id:
                if not self.signed(text.encode(), sig[4:]):
                    raise Failed("a heartbeat's signature is false")
                origin, size, root = text.splitlines()[:3]
                if origin != self.name:
                    raise Failed(f"a heartbeat is of another log, {origin}")
                return int(size), base64.b64decode(root)
        raise Failed("a heartbeat is not signed by the key")

    def signed(self, text, signature):
        with tempfile.TemporaryDirectory() as folder:
            def put(name, data):
                path = os.path.join(folder, name)
                with open(path, "wb") as file:
                    file.write(data)
                return path

            spki = bytes.fromhex("302a300506032b6570032100") + self.key
            command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"]
            command += ["-inkey", put("key", spki), "-in", put("text", text), "-sigfile", put("sig", signature)]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Stream:
    """What was received so far."""

    def __init__(self, key):
        self.key = key
        self.tree = Tree()
        self.last = bytes(32)
        self.leaves = {}  # of this run: seq to leaf, for what comes twice
        self.proven = 0
        self.awaited = {}  # size to root, of checkpoints larger than what came so far
        self.bodies = 0

    def entry(self, seq, leaf, header, body):
        """`header` in its exact bytes; `body` parsed, or None."""
        told = from_b64url(leaf)
        if hashlib.sha256(b"\0" + header).digest() != told:
            raise Failed(f"entry {seq} does not hash to its leaf")
        fields = json.loads(header)
        if fields["seq"] != seq or fields["log"] != self.key.name:
            raise Failed(f"entry {seq} has the header of entry {fields['seq']} of {fields['log']}")
        if body is not None:
            if b64url(hashlib.sha256(canonical_bytes(body)).digest()) != fields["body"]:
                raise Failed(f"the body of entry {seq} is not the one that was recorded")
            self.bodies += 1
        if seq < self.tree.size:
            if self.leaves.get(seq, told) != told:
                raise Failed(f"entry {seq} came twice, and not the same")
            return
        if seq > self.tree.size:
            raise Failed(f"entry {self.tree.size} is missing: {seq} came next")
        if from_b64url(fields["prev"]) != self.last:
            raise Failed(f"entry {seq} does not follow entry {seq - 1}")
        self.last = self.leaves[seq] = told
        self.tree.push(told)
        root = self.awaited.pop(self.tree.size, None)
        if root is not None:
            self.compare(root)

    def heartbeat(self, note, next_seq):
        size, root = self.key.checkpoint(note)
        if next_seq > self.tree.size:
            raise Failed(f"entry {self.tree.size} is missing: all before {next_seq} were sent")
        if size > self.tree.size:
            self.awaited[size] = root
        elif size == self.tree.size:
            self.compare(root)
        # One that is smaller came late or twice; what it proves is proven by the next.

    def compare(self, root):
        if self.tree.root() != root:
            raise Failed(f"the first {self.tree.size} entries are not those the log's key signed")
        self.proven = self.tree.size

    def load(self, path):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                state = json.load(file)
            if state["log"] != self.key.name:
                raise SystemExit(f"error     {path} is of {state['log']}")
            self.tree.size = state["size"]
            self.tree.roots = [(size, from_b64url(root)) for size, root in state["roots"]]
            self.last, self.proven = from_b64url(state["last"]), state["proven"]

    def save(self, path):
        roots = [[size, b64url(root)] for size, root in self.tree.roots]
        state = {"log": self.key.name, "size": self.tree.size, "roots": roots}
        state |= {"last": b64url(self.last), "proven": self.proven}
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)


SYSLOG = re.compile(r"^(?:\d+ )?<\d+>1 \S+ \S+ \S+ \S+ \S+ - (?=[\[{])")


def events(lines):
    """The events in what was stored, whatever their format."""
    for number, line in enumerate(lines, 1):
        line = SYSLOG.sub("", line, count=1)
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            raise Failed(f"line {number} is no JSON") from None
        yield from value if isinstance(value, list) else [value]


def feed(stream, event):
    """Reads an event of any of the three formats."""
    if event.get("specversion") == "1.0":
        data = event["data"]
        if "heartbeat" not in data and (event["id"], int(event["sequence"])) != (data["leaf"], data["seq"]):
            raise Failed(f"the event of entry {data['seq']} has another's name")
        event = data
    if "class_uid" in event:
        metadata, rest = event["metadata"], event["unmapped"]
        if event["class_uid"] == 0:
            return stream.heartbeat(event["raw_data"], rest["next"])
        header = event["raw_data"].encode()
        return stream.entry(metadata["sequence"], metadata["original_event_uid"], header, rest.get("body"))
    if "heartbeat" in event:
        return stream.heartbeat(event["heartbeat"]["checkpoint"], event["heartbeat"]["next"])
    header = canonical_bytes(event["header"])
    return stream.entry(event["seq"], event["leaf"], header, event.get("body"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--key", required=True, help="the log's verifier key")
    parser.add_argument("--state", help="where to go on, and to write how far it got")
    parser.add_argument("streams", nargs="*", default=["-"], metavar="STREAM")
    options = parser.parse_args()
    stream = Stream(Key(options.key))
    if options.state:
        stream.load(options.state)
    try:
        for path in options.streams:
            with sys.stdin if path == "-" else open(path, encoding="utf-8", newline="\n") as lines:
                for event in events(lines):
                    feed(stream, event)
    except Failed as failed:
        print(f"failed    {failed}")
        return 8
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        print(f"failed    an event after entry {stream.tree.size} is none of Stint's: {error!r}")
        return 8
    if options.state:
        stream.save(options.state)
    if stream.proven == 0:
        print(f"undecided {stream.tree.size} entries and no heartbeat that covers them")
        return 9
    after = stream.tree.size - stream.proven
    print(f"ok        entries 0 to {stream.proven - 1} are all here and as the log's key signed them")
    print(f"ok        {after} entries came after the last heartbeat, {stream.bodies} bodies are as recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
