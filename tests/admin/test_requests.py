"""What the admin service answers to requests that it does not serve, and to whom."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import pssmr
from pssmr.admin import application, connections
from pssmr.admin.limits import RateLimit
from pssmr.errors import ConfigError
from tests.admin.conftest import Admin, Counters, admin_of, eventually


@pytest.mark.parametrize(
    ("path", "method", "status", "says"),
    [
        ("/metricz", "GET", 404, "did you mean '/metrics'"),
        ("/../etc/passwd", "GET", 404, "nothing at"),
        ("/dashboard/index.html", "GET", 404, "nothing at"),
        ("/status", "POST", 405, "GET, HEAD"),
        ("/actions/log-level", "GET", 405, "POST"),
        ("/actions/log-level", "POST", 401, "admin-0.token"),
    ],
)
def test_what_is_not_served_says_what_is(shared: Admin, path: str, method: str, status: int, says: str) -> None:
    answer = shared.ask(path, method)
    assert answer.status == status
    error = answer.json["error"]
    assert says in error["message"] + error["remedy"]
    assert error["remedy"]


@pytest.mark.parametrize(
    ("path", "value", "code", "says"),
    [
        ("/actions/log-level", {"level": "loud"}, "wrong_value", "debug, info, warning, error"),
        ("/actions/log-level", {}, "wrong_value", "is missing"),
        ("/actions/log-level", {"levle": "info"}, "unknown_field", "'levle'"),
        ("/actions/log-level", ["info"], "not_an_object", "JSON object"),
        ("/actions/resize-workers", {"workers": 0}, "wrong_value", "1 to 256"),
        ("/actions/resize-workers", {"workers": 257}, "wrong_value", "1 to 256"),
        ("/actions/resize-workers", {"workers": True}, "wrong_value", "1 to 256"),
        ("/actions/resize-workers", {"workers": "x" * 2000}, "too_large", "1024 bytes"),
    ],
)
def test_an_action_with_a_wrong_body_says_what_it_takes(
    shared: Admin, path: str, value: object, code: str, says: str
) -> None:
    answer = shared.act(path, value)
    assert answer.status == (413 if code == "too_large" else 400)
    assert answer.json["error"]["code"] == code
    assert says in answer.json["error"]["message"] + answer.json["error"]["remedy"]


def test_an_action_takes_json_only(shared: Admin) -> None:
    bearer = f"Bearer {shared.token}"
    form = shared.ask("/actions/log-level", "POST", b"level=info", Authorization=bearer)
    assert form.status == 415
    broken = shared.ask("/actions/log-level", "POST", b"{", Authorization=bearer, Content_Type="application/json")
    assert broken.json["error"]["code"] == "not_json"


@pytest.mark.parametrize("path", ["/", "/dashboard.js", "/livez", "/metrics", "/status", "/nothing"])
def test_a_browser_is_told_to_trust_nothing_but_this_page(shared: Admin, path: str) -> None:
    headers = shared.ask(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert "aiohttp" not in headers["Server"]
    assert "Access-Control-Allow-Origin" not in headers


def test_the_dashboard_needs_no_other_host(shared: Admin) -> None:
    for path in application._ASSETS:
        answer = shared.ask(path)
        assert answer.status == 200
        text = answer.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
        assert 'style="' not in text
        assert "onclick=" not in text
        assert "innerHTML" not in text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_a_foreign_page_that_points_its_name_here_gets_nothing(shared: Admin, host: str, status: int) -> None:
    assert shared.ask("/status", Host=host).status == status


def test_nothing_is_changed_without_the_token(shared: Admin) -> None:
    before = shared.ask("/status").json["execution"]["workers"]
    for token in ("", "wrong", shared.token[:-1], f"{shared.token}x"):
        answer = shared.act("/actions/resize-workers", {"workers": before + 1}, token=token)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    basic = shared.ask("/actions/resize-workers", "POST", Authorization=f"Basic {shared.token}")
    assert basic.status == 401
    assert shared.ask("/status").json["execution"]["workers"] == before


def test_a_token_is_for_its_owner_only(cluster: Path) -> None:
    file = cluster / "keys" / "admin-0.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640"):
        pssmr.Replica(Counters(), cluster, id=0).start()
    file.chmod(0o600)
    file.write_text("short\n")
    with pytest.raises(ConfigError, match="holds no token"):
        pssmr.Replica(Counters(), cluster, id=0).start()


def test_without_a_token_a_replica_is_read_only(cluster: Path) -> None:
    token = (cluster / "keys" / "admin-0.token").read_text().strip()
    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        assert admin_of(replica, cluster).act("/actions/log-level", {"level": "info"}).status == 200
    (cluster / "keys" / "admin-0.token").unlink()
    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        assert replica.admin_url is not None
        admin = Admin(replica.admin_url, token, cluster)
        answer = admin.act("/actions/log-level", {"level": "info"})
        assert answer.status == 403
        assert "pssmr keygen --token" in answer.json["error"]["remedy"]


def test_workers_are_added_and_removed(shared: Admin) -> None:
    for workers in (5, 1, 2):
        assert shared.act("/actions/resize-workers", {"workers": workers}).json == {"workers": workers}
        assert shared.ask("/status").json["execution"]["workers"] == workers
        with shared.client() as client:
            client.call(Counters.add, "ann", 1)


@pytest.fixture
def level_restored() -> Iterator[None]:
    logger = logging.getLogger("pssmr")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.mark.usefixtures("level_restored")
def test_the_log_level_of_all_threads_changes_at_once(shared: Admin, caplog: pytest.LogCaptureFixture) -> None:
    def debug_lines() -> int:
        with shared.client() as client:
            client.call(Counters.add, "ann", 1)
        return sum(record.levelno == logging.DEBUG for record in caplog.records)

    assert shared.act("/actions/log-level", {"level": "debug"}).status == 200
    # The core logs a link that goes down; it is on its way to Python for a moment.
    eventually(debug_lines)
    assert shared.act("/actions/log-level", {"level": "warning"}).json == {"level": "warning"}
    assert logging.getLogger("pssmr").level == logging.WARNING


def test_a_source_that_asks_too_often_waits_and_others_do_not() -> None:
    now = 0.0
    limit = RateLimit(2, 3, clock=lambda: now)
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.take("b") == 0
    now = 0.5
    assert [limit.take("a"), limit.take("a")] == [0, 0.5]
    now = 1000.0
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_rate_limits_remember_a_bounded_number_of_sources() -> None:
    limit = RateLimit(1, 1)
    for source in range(5000):
        limit.take(str(source))
    assert len(limit._buckets) <= 1024


def test_too_many_requests_do_not_make_a_replica_look_dead(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "RateLimit", lambda *_: RateLimit(1e-6, 3))
    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        admin = admin_of(replica, cluster)
        assert [admin.ask("/status").status for _ in range(4)] == [200, 200, 200, 429]
        refused = admin.ask("/metrics")
        assert refused.json["error"]["code"] == "too_often"
        assert int(refused.headers["Retry-After"]) >= 1
        assert admin.ask("/livez").status == 200


def has_ended(connection: socket.socket) -> bool:
    """Waits for the end of a connection. With something unread on the other side, the end is a reset."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_connections_are_bounded(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(connections, "FIRST_REQUEST_SECONDS", 1000.0)

    def status(admin: Admin) -> int:
        try:
            return admin.ask("/livez").status
        except ConnectionError:
            return 0  # Refused before the request was read.

    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        admin = admin_of(replica, cluster)
        held = [socket.create_connection(admin.address, timeout=60) for _ in range(2)]
        # A connection counts once the service has seen it, and until it has seen its end.
        eventually(lambda: status(admin) == 503)
        held.pop().close()
        eventually(lambda: status(admin) == 200)
        held.pop().close()


def test_who_says_nothing_is_sent_away(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_REQUEST_SECONDS", 0.01)
    monkeypatch.setattr(connections, "_KEEP_ALIVE_SECONDS", 1000.0)
    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        admin = admin_of(replica, cluster)
        with socket.create_connection(admin.address, timeout=60) as silent:
            assert has_ended(silent)
        with socket.create_connection(admin.address, timeout=60) as slow:
            with contextlib.suppress(ConnectionError):
                slow.sendall(b"GET /status HTTP/1.1\r\nHost: loc")
            assert has_ended(slow)


def test_who_has_asked_once_may_stay(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_REQUEST_SECONDS", 2.0)
    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        admin = admin_of(replica, cluster)
        kept = http.client.HTTPConnection(*admin.address, timeout=60)
        kept.request("GET", "/livez")
        kept.getresponse().read()
        with socket.create_connection(admin.address, timeout=60) as silent:
            assert has_ended(silent)
        held = kept.sock
        kept.request("GET", "/livez")
        assert kept.getresponse().status == 200
        assert kept.sock is held, "on the same connection"
        kept.close()


def test_a_malformed_request_closes_its_connection_only(shared: Admin, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(shared.address, timeout=60) as connection:
        connection.sendall(b"\x16\x03\x01 this is TLS\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 400
        assert json.loads(answer.read())["error"]["code"] == "malformed"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    with socket.create_connection(shared.address, timeout=60) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
        answer = connection.recv(65_536)
        assert answer == b"" or b" 400 " in answer.splitlines()[0]
    assert shared.ask("/livez").status == 200
    said = [record for record in caplog.records if record.name.startswith(("aiohttp", "pssmr.admin"))]
    assert not [record for record in said if record.levelno > logging.DEBUG], "nobody fills logs with it"


def test_head_is_get_without_the_body(shared: Admin) -> None:
    answer = shared.ask("/status", "HEAD")
    assert answer.status == 200
    assert answer.body == b""


def test_the_configuration_has_no_secret(shared: Admin) -> None:
    text = shared.ask("/config").body.decode()
    assert shared.token not in text
    assert "PRIVATE" not in text
    assert str(shared.cluster) not in text
    assert json.loads(text)["replicas"][0]["id"] == 0
