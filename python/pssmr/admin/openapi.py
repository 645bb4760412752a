"""What the admin service offers, as OpenAPI has it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from pssmr import _core

Schema = dict[str, Any]

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One path with its method, for the document."""

    method: str
    path: str
    summary: str
    content: str
    """The media type of the answer."""
    schema: Schema
    """Of the answer."""
    body: Schema | None = None
    """Of what is sent, by an action."""
    unwell: str = ""
    """What an answer with status 503 means, if it is an answer like that with 200."""
    refusals: tuple[int, ...] = ()
    """The statuses of answers that say why not, beside those that every operation has."""


def ref(name: str) -> Schema:
    """Refers to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(**properties: Schema) -> Schema:
    """The schema of an object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


NO_FIELDS: Schema = {"type": "object", "additionalProperties": False}


def one_field(name: str, schema: Schema) -> Schema:
    """The schema of an object that has this field and no other."""
    return {**record(**{name: schema}), "additionalProperties": False}


TEXT: Schema = {"type": "string"}

_REFUSALS = {
    400: "It is malformed, or the body is not what it has to be.",
    401: "It does not bear the replica's token.",
    403: "The replica has no token: nothing can be changed through it.",
    408: "The body did not come in time.",
    409: "It can't be done as things are.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    421: "It was meant for somebody else: the name in `Host` is not this machine's.",
    429: "Too many requests; `Retry-After` says when to ask again.",
    500: "The admin service failed; the replica goes on.",
    503: "It was not done: too few replicas answer, or too much is open here.",
    504: "It may have been done: no answer came in time.",
}
_OF_ALL = (400, 421, 429, 500, 503)
_OF_ACTIONS = (401, 403, 408, 413, 415)


def status_schema() -> Schema:
    """The JSON schema of a status, as it stands alone."""
    schema: Schema = json.loads(_core.status_schema())
    return schema


def document(operations: Iterable[Operation]) -> Schema:
    """The OpenAPI document of these operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pssmr admin service",
            "version": version("pssmr"),
            "description": "One replica's health, status, metrics and events. What changes something needs the token"
            " in the replica's `keys/admin-N.token`. Errors are JSON, with what to do. Paths that take GET take HEAD,"
            " too; other methods are answered with 405, and other paths with 404.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    def answer(description: str, schema: Schema, content: str = JSON) -> dict[str, Any]:
        return {"description": description, "content": {content: {"schema": schema}}}

    responses = {
        "200": answer(operation.summary, operation.schema, operation.content),
    }
    statuses = {*_OF_ALL, *operation.refusals, *(_OF_ACTIONS if operation.body is not None else ())}
    for status in sorted(statuses):
        responses[str(status)] = answer(_REFUSALS[status], ref("Error"))
    if operation.unwell:
        responses["503"] = answer(operation.unwell, operation.schema, operation.content)
    described: dict[str, Any] = {"summary": operation.summary, "responses": responses}
    if operation.body is not None:
        described["security"] = [{"token": []}]
        described["requestBody"] = {
            "required": operation.body != NO_FIELDS,
            "content": {JSON: {"schema": operation.body}},
        }
    return described


def _schemas() -> dict[str, Schema]:
    # In a document of its own a status has its parts under `$defs`; here they are schemas like any other.
    status = json.loads(_core.status_schema().replace("#/$defs/", "#/components/schemas/"))
    parts = status.pop("$defs")
    del status["$schema"]
    check = record(name=TEXT, ok={"type": "boolean"}, detail=TEXT)
    error = record(code=TEXT, message=TEXT, remedy=TEXT)
    error["properties"]["leader"] = {"type": "integer"}
    event = record(event=TEXT, number={"type": "integer"}, time={"type": "number"})
    return {
        "ReplicaStatus": status,
        **parts,
        "Live": record(live={"type": "boolean"}, halted={"type": ["string", "null"]}),
        "Ready": record(ready={"type": "boolean"}, checks={"type": "array", "items": check}),
        "Event": {**event, "description": "`number` counts from the replica's start; `time` is in Unix seconds."},
        "Error": record(error={**error, "description": "`leader`: who leads, if it was asked of another replica."}),
    }
