"""Validates JSON lines against a JSON Schema (Draft 2020-12), formats included.

In: SCHEMA_DIR (schemas that may refer to each other by file name or $id), --schema FILE, JSON lines files.
Out: one JSON line. A file without a line is a fault, as is a schema that is not one.
"""

import argparse
import json
import pathlib

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from findings import SelfTest, finish


def registry_of(folder):
    resources = []
    for file in sorted(pathlib.Path(folder).glob("*.json")):
        content = json.loads(file.read_text())
        resource = Resource.from_contents(content, default_specification=DRAFT202012)
        resources += [(file.name, resource)] + ([(content["$id"], resource)] if "$id" in content else [])
    return Registry().with_resources(resources)


def line_faults(schema, registry, name, lines):
    """Faults of one file's lines; the number of lines that hold something."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [f"schema: {error.message}"], 0
    validator = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
    faults, count = [], 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        count += 1
        try:
            # Python's reader takes NaN and Infinity; JSON does not have them.
            body = json.loads(line, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(f"not JSON: {word}")))
        except ValueError as error:
            faults.append(f"{name}:{number}: {error}")
            continue
        for error in sorted(validator.iter_errors(body), key=str):
            faults.append(f"{name}:{number}: {error.json_path}: {error.message}")
    if count == 0:
        faults.append(f"{name}: no line to check")
    return faults, count


def self_test():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "priority": {"enum": ["high", "low"]},
            "p": {"type": "number", "maximum": 1},
            "day": {"type": "string", "format": "date"},
            "pair": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "items": False},
        },
        "required": ["id"],
        "additionalProperties": False,
    }
    test = SelfTest()

    def faults(*lines, schema=schema):
        return line_faults(schema, Registry(), "x", lines)[0]

    test.passes("right", faults('{"id":"a","priority":"low","p":0.5,"day":"2026-01-31","pair":[1,"x"]}', "", '{"id":"b"}'))
    test.flags("required", faults('{"id":"a"}', "{}"), "x:2: $: 'id' is a required property")
    test.flags("enum", faults('{"id":"a","priority":"mid"}'), "$.priority")
    test.flags("bound", faults('{"id":"a","p":1.5}'), "maximum")
    test.flags("unknown key", faults('{"id":"a","extra":1}'), "extra")
    test.flags("format", faults('{"id":"a","day":"2026-02-31"}'), "date")
    test.flags("draft 2020-12", faults('{"id":"a","pair":[1,"x",2]}'), "$.pair")
    test.flags("cut line", faults('{"id":"a"'), "x:1")
    test.flags("NaN", faults('{"id":"a","p":NaN}'), "not JSON")
    test.flags("nothing", faults(""), "no line")
    test.flags("not a schema", faults("{}", schema={"type": "thing"}), "schema:")
    test.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("schemas", nargs="?")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--schema")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        self_test()
    if not (args.schemas and args.files and args.schema):
        parser.error("SCHEMA_DIR, --schema and files are needed")
    schema, registry = json.loads(pathlib.Path(args.schema).read_text()), registry_of(args.schemas)
    faults, lines = [], 0
    for file in args.files:
        with open(file, encoding="utf-8") as opened:
            found, count = line_faults(schema, registry, file, opened)
        faults, lines = faults + found, lines + count
    finish({"schema": args.schema, "files": len(args.files), "lines": lines}, faults)


if __name__ == "__main__":
    main()
