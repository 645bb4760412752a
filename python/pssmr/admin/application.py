"""The paths of the admin service, and what holds for all of them."""

from __future__ import annotations

import dataclasses
import logging
import platform
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from pssmr.admin import actions, refusals
from pssmr.admin.connections import Connections
from pssmr.admin.health import checks
from pssmr.admin.limits import RateLimit
from pssmr.admin.metrics import ReplicaCollector
from pssmr.admin.node import Node
from pssmr.admin.openapi import JSON, TEXT, Operation, document, one_field, record, ref
from pssmr.admin.refusals import Refusal
from pssmr.admin.stream import Streams
from pssmr.cluster_fields import is_loopback, split_address
from pssmr.logs import LEVELS

_log = logging.getLogger("pssmr.admin")

CONNECTIONS: web.AppKey[Connections] = web.AppKey("connections", Connections)
STREAMS: web.AppKey[Streams] = web.AppKey("streams", Streams)
_NODE: web.AppKey[Node] = web.AppKey("node", Node)
_HOSTS: web.AppKey[frozenset[str]] = web.AppKey("hosts", frozenset)
_RATES: web.AppKey[Mapping[bool, RateLimit]] = web.AppKey("rates", Mapping)

BODY_BYTES_MAX = 1024
_PROBES = frozenset({"/livez", "/readyz", "/healthz"})

_ASSETS = {
    "/": ("index.html", "text/html"),
    "/dashboard.js": ("dashboard.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
    "/rates.js": ("rates.js", "text/javascript"),
    "/dashboard.css": ("dashboard.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "pssmr",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_application(node: Node, address: str) -> web.Application:
    """The application that serves one replica, listening at this address. Made in the loop that serves."""
    application = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_refusals, _limits])
    application[_NODE] = node
    application[CONNECTIONS] = Connections()
    application[STREAMS] = Streams(node)
    host = split_address(address)[0].lower()
    names = {host, "localhost", "127.0.0.1", "::1"} if is_loopback(address) else set()
    application[_HOSTS] = frozenset(names)
    # Probes have a bucket of their own: whoever asks too often does not make a replica look dead.
    application[_RATES] = {False: RateLimit(50, 100), True: RateLimit(50, 100)}
    application.on_response_prepare.append(_add_headers)
    for operation, handler in OPERATIONS:
        application.router.add_route(operation.method, operation.path, handler)
        if operation.method == "GET":
            application.router.add_route("HEAD", operation.path, handler)
    for path in _ASSETS:
        application.router.add_get(path, _asset)
    return application


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers[name] = value


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers what can't be served."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return refusal.response()
    except web.HTTPNotFound:
        paths = [*(operation.path for operation, _ in OPERATIONS), "/"]
        return refusals.no_such_path(request.path, paths).response()
    except web.HTTPMethodNotAllowed as error:
        return refusals.wrong_method(request.method, request.path, error.allowed_methods).response()
    except web.HTTPRequestEntityTooLarge:
        return refusals.too_large(BODY_BYTES_MAX).response()
    except web.HTTPException as error:
        return refusals.of_http(error).response()
    except ConnectionError:
        raise
    except Exception as error:
        _log.exception("%s %s failed", request.method, request.path)
        return refusals.failed(error).response()


@web.middleware
async def _limits(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses who asks too often, or asks for somebody else: a page of a foreign site, under a name of its own."""
    if request.protocol is not None:
        request.app[CONNECTIONS].heard(request.protocol)
    hosts = request.app[_HOSTS]
    if hosts and split_host(request.host) not in hosts:
        raise refusals.wrong_host(request.host, ", ".join(sorted(hosts)))
    wait = request.app[_RATES][request.path in _PROBES].take(request.remote or "")
    if wait > 0:
        raise refusals.too_often(wait)
    return await handler(request)


def split_host(header: str) -> str:
    """The name in a `Host` header, without the port."""
    header = header.lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


async def _live(request: web.Request) -> web.StreamResponse:
    halted = request.app[_NODE].core.halted()
    return web.json_response({"live": halted is None, "halted": halted}, status=503 if halted is not None else 200)


async def _ready(request: web.Request) -> web.StreamResponse:
    node = request.app[_NODE]
    found = checks(node.config, node.status())
    ready = all(check["ok"] for check in found)
    return web.json_response({"ready": ready, "checks": found}, status=200 if ready else 503)


async def _status(request: web.Request) -> web.StreamResponse:
    return web.Response(text=request.app[_NODE].core.status(), content_type=JSON)


async def _metrics(request: web.Request) -> web.StreamResponse:
    node = request.app[_NODE]
    node.feed.take()
    collector = ReplicaCollector(node.status(), node.feed.counts(), _about(node))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(collector), headers={"Content-Type": content_type})


async def _events(request: web.Request) -> web.StreamResponse:
    node = request.app[_NODE]
    node.feed.take()
    if JSON in request.headers.get("Accept", "") or request.method == "HEAD":
        return web.json_response(node.feed.latest())
    return await request.app[STREAMS].serve(request)


async def _config(request: web.Request) -> web.StreamResponse:
    config = request.app[_NODE].config
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
            "replica": request.app[_NODE].id,
            "replicas": replicas,
            "settings": dataclasses.asdict(config.settings),
            "versions": _versions(),
        }
    )


async def _openapi(_: web.Request) -> web.StreamResponse:
    return web.json_response(document(operation for operation, _ in OPERATIONS))


async def _asset(request: web.Request) -> web.StreamResponse:
    name, kind = _ASSETS[request.path]
    return web.Response(body=_content(name), content_type=kind, charset="utf-8")


def _action(change: Callable[[Node, web.Request], Awaitable[dict[str, Any]]]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        node = request.app[_NODE]
        actions.check_token(node, request)
        return web.json_response(await change(node, request))

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
)
"""All there is, but for the dashboard's files."""
