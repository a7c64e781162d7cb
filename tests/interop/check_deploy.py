"""What deploy/ ships, read by software of others.

    check_deploy.py schema SCHEMA < stint.toml     faults by jsonschema-rs of what Python's own TOML reader reads
    check_deploy.py rules < alerts.yml             the rules, by PyYAML

Prints JSON.
"""

import json
import sys
import tomllib

import jsonschema_rs
import yaml


def faults(path, text):
    with open(path, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema_rs.meta.validate(schema)
    errors = jsonschema_rs.Draft202012Validator(schema).iter_errors(tomllib.loads(text))
    return ["/".join(map(str, error.instance_path)) + ": " + error.message for error in errors]


text = sys.stdin.read()
print(json.dumps(faults(sys.argv[2], text) if sys.argv[1] == "schema" else yaml.safe_load(text)))
