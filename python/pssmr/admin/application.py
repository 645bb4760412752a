"""The paths of the admin service, and what holds for all of them."""

from __future__ import annotations

import dataclasses
import logging
import platform
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from pssmr.admin import actions, refusals
from pssmr.admin.connections import Connections
from pssmr.admin.headers import HEADERS
from pssmr.admin.health import checks
from pssmr.admin.limits import RateLimit
from pssmr.admin.metrics import ReplicaCollector
from pssmr.admin.node import Node
from pssmr.admin.openapi import JSON, NO_FIELDS, TEXT, Operation, document, one_field, record, ref
from pssmr.admin.refusals import Refusal
from pssmr.admin.stream import Streams
from pssmr.cluster_fields import is_loopback, split_address
from pssmr.logs import LEVELS

_log = logging.getLogger("pssmr.admin")

_PROBES = frozenset({"/livez", "/readyz", "/healthz"})

_ASSETS = {
    "/": ("index.html", "text/html"),
    "/dashboard.js": ("dashboard.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
    "/rates.js": ("rates.js", "text/javascript"),
    "/dashboard.css": ("dashboard.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

Handler = Callable[["Application", web.BaseRequest], Awaitable[web.StreamResponse]]


class Application:
    """Answers requests about one replica."""

    def __init__(self, node: Node, address: str, connections: Connections) -> None:
        """Made in the loop that serves.

        Args:
            node: The replica.
            address: `host:port` at which it is served.
            connections: Those that requests come on.
        """
        self.node = node
        self.streams = Streams(node)
        self._connections = connections
        host = split_address(address)[0].lower()
        self._hosts = frozenset({host, "localhost", "127.0.0.1", "::1"} if is_loopback(address) else ())
        # One for everybody: what all replicas have to do costs all of them.
        self.changes = RateLimit(1, 5)
        # Probes have a bucket of their own: whoever asks too often does not make a replica look dead.
        self._rates = {is_probe: RateLimit(50, 100) for is_probe in (False, True)}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request, whatever it is."""
        try:
            response = await self._serve(request)
        except Refusal as refusal:
            response = refusal.response()
        except ConnectionError:
            raise
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            response = refusals.failed(error).response()
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.protocol is not None:
            self._connections.heard(request.protocol)
        if self._hosts and split_host(request.host) not in self._hosts:
            raise refusals.wrong_host(request.host, ", ".join(sorted(self._hosts)))
        wait = self._rates[request.path in _PROBES].take(request.remote or "")
        if wait > 0:
            raise refusals.too_often(wait)
        methods = ROUTES.get(request.path)
        if methods is None:
            raise refusals.no_such_path(request.path, ROUTES)
        handler = methods.get(request.method)
        if handler is None:
            raise refusals.wrong_method(request.method, request.path, methods)
        return await handler(self, request)


def split_host(header: str) -> str:
    """The name in a `Host` header, without the port."""
    header = header.lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


async def _live(application: Application, _request: web.BaseRequest) -> web.StreamResponse:
    halted = application.node.core.halted()
    return web.json_response({"live": halted is None, "halted": halted}, status=503 if halted is not None else 200)


async def _ready(application: Application, _request: web.BaseRequest) -> web.StreamResponse:
    node = application.node
    found = checks(node.config, node.status())
    ready = all(check["ok"] for check in found)
    return web.json_response({"ready": ready, "checks": found}, status=200 if ready else 503)


async def _status(application: Application, _request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=application.node.core.status(), content_type=JSON)


async def _metrics(application: Application, request: web.BaseRequest) -> web.StreamResponse:
    node = application.node
    node.feed.take()
    collector = ReplicaCollector(node.status(), node.feed.counts(), _about(node))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(collector), headers={"Content-Type": content_type})


async def _events(application: Application, request: web.BaseRequest) -> web.StreamResponse:
    node = application.node
    node.feed.take()
    if JSON in request.headers.get("Accept", "") or request.method == "HEAD":
        return web.json_response(node.feed.latest())
    return await application.streams.serve(request)


async def _config(application: Application, _request: web.BaseRequest) -> web.StreamResponse:
    config = application.node.config
    replicas = [
        {name: getattr(each, name) for name in ("id", "key", "peers", "clients", "admin")} for each in config.replicas
    ]
    return web.json_response(
        {
            "name": config.name,
            "id": config.id,
            "fault_model": config.fault_model,
            "faults": config.faults,
            "quorum": config.quorum,
            "replica": application.node.id,
            "replicas": replicas,
            "settings": dataclasses.asdict(config.settings),
            "versions": _versions(),
        }
    )


async def _openapi(_: Application, _request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response(document(operation for operation, _ in OPERATIONS))


async def _asset(_: Application, request: web.BaseRequest) -> web.StreamResponse:
    name, kind = _ASSETS[request.path]
    return web.Response(body=_content(name), content_type=kind, charset="utf-8")


def _action(change: Callable[[Node, web.BaseRequest], Awaitable[dict[str, Any]]], *, of_all: bool = False) -> Handler:
    """What changes something: at this replica, or at all of them."""

    async def handler(application: Application, request: web.BaseRequest) -> web.StreamResponse:
        actions.check_token(application.node, request)
        if of_all and (wait := application.changes.take("")) > 0:
            raise refusals.too_often(wait)
        return web.json_response(await change(application.node, request))

    return handler


@cache
def _content(name: str) -> bytes:
    return (files("pssmr.admin") / "dashboard" / name).read_bytes()


@cache
def _versions() -> dict[str, str]:
    return {"pssmr": version("pssmr"), "python": platform.python_version()}


def _about(node: Node) -> dict[str, str]:
    config, settings = node.config, node.config.settings
    return {
        "cluster": config.name,
        "cluster_id": config.id,
        "replica": str(node.id),
        "fault_model": config.fault_model,
        "durability": settings.durability,
        "scheduler": settings.scheduler,
        **_versions(),
    }


_OBJECT = {"type": "object"}

OPERATIONS: tuple[tuple[Operation, Handler], ...] = (
    (
        Operation("GET", "/livez", "Whether the replica runs.", JSON, ref("Live"), unwell="It has stopped for good."),
        _live,
    ),
    (
        Operation(
            "GET",
            "/readyz",
            "Whether the replica does its share: it votes, reaches a quorum, can write, and keeps up.",
            JSON,
            ref("Ready"),
            unwell="It does not, or not yet: `checks` says why.",
        ),
        _ready,
    ),
    (Operation("GET", "/healthz", "The same as /readyz.", JSON, ref("Ready"), unwell="As of /readyz."), _ready),
    (
        Operation(
            "GET", "/status", "How the replica is: what `pssmr status --json` shows.", JSON, ref("ReplicaStatus")
        ),
        _status,
    ),
    (Operation("GET", "/metrics", "The same and more, for Prometheus.", "text/plain", TEXT), _metrics),
    (
        Operation(
            "GET",
            "/events",
            "What has happened and happens, as server-sent events; with `Accept: application/json`, the latest as a"
            " list of Event.",
            "text/event-stream",
            TEXT,
        ),
        _events,
    ),
    (Operation("GET", "/config", "The cluster's configuration, without anything secret.", JSON, _OBJECT), _config),
    (Operation("GET", "/openapi.json", "This document.", JSON, _OBJECT), _openapi),
    (
        Operation(
            "POST",
            "/actions/log-level",
            "Changes how much is logged, until the replica is started again.",
            JSON,
            record(level=TEXT),
            body=one_field("level", {"enum": list(LEVELS)}),
        ),
        _action(actions.set_log_level),
    ),
    (
        Operation(
            "POST",
            "/actions/resize-workers",
            "Changes the number of worker threads, until the replica is started again.",
            JSON,
            record(workers={"type": "integer"}),
            body=one_field("workers", {"type": "integer", "minimum": 1, "maximum": actions.WORKERS_MAX}),
        ),
        _action(actions.resize_workers),
    ),
    (
        Operation(
            "POST",
            "/actions/step-down",
            "Has this replica, if it leads, give up its view: another one leads some milliseconds later. 409 with the"
            " leader's id if it does not lead.",
            JSON,
            record(view={"type": "integer"}, leader={"type": "integer"}),
            body=NO_FIELDS,
            refusals=(409,),
        ),
        _action(actions.step_down, of_all=True),
    ),
    (
        Operation(
            "POST",
            "/actions/checkpoint",
            "Has all replicas take a checkpoint; gives the digest of each one's state there. It is written afterwards:"
            " /status shows the slot of the last one that is stable.",
            JSON,
            record(state_digests={"type": "object", "additionalProperties": TEXT}),
            body=NO_FIELDS,
            refusals=(504,),
        ),
        _action(actions.take_checkpoint, of_all=True),
    ),
    (
        Operation(
            "POST",
            "/actions/reconfigure",
            "Has a change of the membership made that the administrator has signed: what `pssmr reconfigure ... --sign`"
            " prints. 409 if the replicas refuse it.",
            JSON,
            record(made={"const": True}),
            body=one_field("change", {"type": "string", "pattern": "^([0-9a-fA-F]{2})+$"}),
            refusals=(409, 504),
        ),
        _action(actions.reconfigure, of_all=True),
    ),
)
"""All there is, but for the dashboard's files."""


def _routes() -> dict[str, dict[str, Handler]]:
    routes: dict[str, dict[str, Handler]] = {path: {"GET": _asset} for path in _ASSETS}
    for operation, handler in OPERATIONS:
        routes.setdefault(operation.path, {})[operation.method] = handler
    for methods in routes.values():
        if "GET" in methods:
            methods["HEAD"] = methods["GET"]
    return routes


ROUTES = _routes()
"""What answers, by path and method."""
