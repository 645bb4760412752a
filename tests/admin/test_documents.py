"""What is published about the answers is what the answers are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pssmr.admin.metrics import FAMILIES, _buckets, label_name
from pssmr.admin.openapi import status_schema
from tests.admin.conftest import Admin, Counters, eventually

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "admin.md"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (each for key, each in value.items() if key == "$ref")
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def complete(schema: dict[str, Any]) -> None:
    """Refuses fields that a schema does not name, which JSON schemas allow."""
    if "properties" in schema:
        schema["additionalProperties"] = False
    for part in schema.get("$defs", {}).values():
        complete(part)


def test_a_status_is_as_its_schema_says_over_http_and_over_tls(shared: Admin) -> None:
    with shared.client() as client:
        client.call(Counters.add, "ann", 1)
        (over_tls,) = client.status().values()
    over_http = shared.ask("/status").json
    assert over_tls is not None
    assert over_tls.keys() == over_http.keys()
    schema = status_schema()
    complete(schema)
    for status in (over_tls, over_http):
        jsonschema.validate(status, schema, cls=jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**over_http, "view": "first"}, schema, cls=jsonschema.Draft202012Validator)


def test_each_field_of_a_status_is_explained() -> None:
    schema = status_schema()
    for part in (schema, *schema["$defs"].values()):
        for name, field in part.get("properties", {}).items():
            assert field.get("description"), name


def test_openapi_has_every_path_and_each_answers_as_it_says(shared: Admin) -> None:
    document = shared.ask("/openapi.json").json
    for reference in references(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "post":
                assert operation["security"] == [{"token": []}]
                assert shared.ask(path, "POST").status == 401
                continue
            (content, answer), *_ = operation["responses"]["200"]["content"].items()
            if path == "/events":
                continue  # It never ends.
            got = shared.ask(path)
            assert got.status == 200, path
            assert got.headers.get_content_type() == content
            if content == "application/json":
                jsonschema.validate(got.json, {**answer["schema"], "components": document["components"]})


def test_the_metrics_are_those_of_the_documentation(shared: Admin) -> None:
    with shared.client() as client:
        client.call(Counters.add, "ann", 1)
    text = shared.ask("/metrics").body.decode()
    served = {family.name for family in text_string_to_metric_families(text) if family.name.startswith("pssmr")}
    documented = set(re.findall(r"^\| `(pssmr\w*)`", DOCUMENTATION.read_text(), re.MULTILINE))
    # A counter's samples end in `_total`, and so does what a person looks for.
    assert {name.removesuffix("_total") for name in documented} == {name.removesuffix("_info") for name in served}


def test_metrics_are_what_the_status_says(shared: Admin) -> None:
    with shared.client() as client:
        for amount in range(20):
            client.call(Counters.add, "ann", amount)
    # What the threads show is some milliseconds old.
    status = eventually(lambda: (s := shared.ask("/status").json)["counters"]["commands"] >= 20 and s)
    families = {each.name: each for each in text_string_to_metric_families(shared.ask("/metrics").body.decode())}
    commands = families["pssmr_commands"].samples[0].value
    assert commands >= 20
    assert families["pssmr_role"].samples
    assert {s.labels["role"]: s.value for s in families["pssmr_role"].samples} == {
        "leader": 1, "follower": 0, "learner": 0, "retired": 0, "halted": 0,
    }  # fmt: skip
    add = next(each for each in status["handlers"] if each["name"] == "add")["duration_ns"]
    samples = [s for s in families["pssmr_handler_seconds"].samples if s.labels["command"] == "add"]
    buckets = [s.value for s in samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == add["count"] >= 20
    total = next(s.value for s in samples if s.name.endswith("_sum"))
    assert total == pytest.approx(add["sum"] / 1e9)
    for bound in (1.024e-06, 0.001048576):
        exact = sum(count for upper, count in add["buckets"] if upper <= round(bound * 1e9))
        assert next(s.value for s in samples if s.labels.get("le") == str(bound)) == exact


def test_a_bound_counts_all_that_is_not_above_it() -> None:
    reading = {"count": 7, "sum": 3000, "buckets": [[1024, 2], [1280, 1], [2048, 3], [1 << 40, 1]]}
    buckets, total = _buckets(reading, "seconds")
    assert total == pytest.approx(3e-6)
    assert buckets[:3] == [("1.024e-06", 2), ("2.048e-06", 6), ("4.096e-06", 6)]
    assert buckets[-2:] == [("34.3597384", 6), ("+Inf", 7)]
    assert _buckets({**reading, "buckets": [[1, 5]]}, "sizes")[0][0] == ("1.0", 5)


def test_each_metric_finds_its_place_in_a_status() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert [label_name(label) for label in ("#worker", "id=peer")] == ["worker", "peer"]
