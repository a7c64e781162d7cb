"""Events of a sink, read by the software of others: OCSF's own schema, and the CloudEvents SDK.

    check_events.py ocsf|cloudevents < LINES

Prints what was read as JSON; ends with 1 and the faults on stderr if any event is not of its form.
"""

import collections
import json
import sys

import jsonschema_rs
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

OCSF = "1.7.0"


def ocsf(lines):
    """Each event against the schema of its class: required members, types, words, and none that the class lacks."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF))
    validators, read = {}, collections.Counter()
    for line in lines:
        event = json.loads(line)
        assert event["metadata"]["version"] == OCSF, event["metadata"]
        uid = event["class_uid"]
        name = schema.lookup_class_name_from_uid(uid)
        if uid not in validators:
            validators[uid] = jsonschema_rs.validator_for(schema.get_class_schema(name))
        for error in validators[uid].iter_errors(event):
            raise SystemExit(f"{name}: {error}\n{line}")
        read[name] += 1
    return read


def cloudevents(lines):
    """Each event through the SDK's reader, which checks the attributes of CloudEvents 1.0."""
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

    read, ids = collections.Counter(), set()
    sequences = []
    for line in lines:
        event = JSONFormat().read(CloudEvent, line.encode())
        assert (event.get_source(), event.get_id()) not in ids, line
        ids.add((event.get_source(), event.get_id()))
        if not event.get_type().endswith(".heartbeat"):
            sequences.append(event.get_extension("sequence"))
        read[event.get_type()] += 1
    assert sequences == sorted(sequences), sequences
    return read


if __name__ == "__main__":
    lines = [line for line in sys.stdin.read().split("\n") if line]
    print(json.dumps({"ocsf": ocsf, "cloudevents": cloudevents}[sys.argv[1]](lines)))
