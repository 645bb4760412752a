"""A replicated key-value store with an HTTP front, which any number of processes can be.

    pssmr up examples/key_value_http.py:KeyValue            # prints DIR
    python examples/key_value_http.py DIR --port 8080
    curl -X PUT --data 'three' localhost:8080/tea
    curl localhost:8080/tea

The front keeps nothing: it can be killed, and started anywhere. What is not known after a time-out is said as such
(504), and is another answer than what certainly did not happen (503).
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from aiohttp import web

import pssmr

CLIENT = web.AppKey("client", pssmr.AsyncClient)


class KeyValue(pssmr.Service):
    """Bytes by key, each with a version that grows with every change."""

    entries = pssmr.Map[str, tuple[int, bytes]]()

    @pssmr.command
    def put(self, key: Annotated[str, entries.write], value: bytes, expected: int | None = None) -> int | None:
        """Sets a key and returns its new version; `None` if its version is not the `expected` one (0: not there)."""
        version, _ = self.entries.get(key, (0, b""))
        if expected is not None and expected != version:
            return None
        self.entries[key] = (version + 1, value)
        return version + 1

    @pssmr.command
    def delete(self, key: Annotated[str, entries.write]) -> bool:
        """Removes a key, and says whether it was there."""
        return self.entries.pop(key, None) is not None

    @pssmr.query
    def get(self, key: Annotated[str, entries.read]) -> tuple[int, bytes] | None:
        """A key's version and value; `None` if it is not there."""
        return self.entries.get(key)


routes = web.RouteTableDef()


@routes.get("/{key}")
async def get(request: web.Request) -> web.Response:
    """The value, with its version as the ETag."""
    found = await request.app[CLIENT].call(KeyValue.get, request.match_info["key"])
    if found is None:
        raise web.HTTPNotFound
    version, value = found
    return web.Response(body=value, headers={"ETag": f'"{version}"'})


@routes.put("/{key}")
async def put(request: web.Request) -> web.Response:
    """Sets the value; with If-Match, only if it has that version still."""
    etag = request.headers.get("If-Match")
    if etag is not None and not etag.strip('"').isdecimal():
        raise web.HTTPBadRequest(text='If-Match has to be a version, such as "3"\n')
    expected = None if etag is None else int(etag.strip('"'))
    version = await request.app[CLIENT].call(KeyValue.put, request.match_info["key"], await request.read(), expected)
    if version is None:
        raise web.HTTPPreconditionFailed
    return web.Response(status=204, headers={"ETag": f'"{version}"'})


@routes.delete("/{key}")
async def delete(request: web.Request) -> web.Response:
    """Removes the key."""
    if not await request.app[CLIENT].call(KeyValue.delete, request.match_info["key"]):
        raise web.HTTPNotFound
    return web.Response(status=204)


@web.middleware
async def say_what_is_known(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns errors of the cluster into answers."""
    try:
        return await handler(request)
    except pssmr.CommandError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    except pssmr.Unavailable as error:
        raise web.HTTPServiceUnavailable(text=f"nothing happened: {error}\n", headers={"Retry-After": "1"}) from error
    except pssmr.OutcomeUnknown as error:
        raise web.HTTPGatewayTimeout(text=f"whether it happened is not known: {error}\n") from error


def front(client: pssmr.AsyncClient) -> web.Application:
    """The HTTP application; it opens the client, and closes it at the end."""

    async def connected(app: web.Application) -> AsyncIterator[None]:
        async with client:
            yield

    app = web.Application(middlewares=[say_what_is_known], client_max_size=1 << 20)
    app[CLIENT] = client
    app.add_routes(routes)
    app.cleanup_ctx.append(connected)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cluster", help="the directory of the cluster's configuration")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    web.run_app(front(pssmr.AsyncClient(options.cluster, timeout=5)), host="127.0.0.1", port=options.port)
