"""The dashboard in a real browser: skipped without `pip install .[browser]` and a chromium that is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.admin.conftest import Admin, Counters, make_cluster

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

TIMEOUT_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that has nothing to complain about."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def fake_status(page: Any, change: dict[str, Any]) -> None:
    """Lets the page believe that the replica is in another state."""

    def answer(route: Any) -> None:
        route.fulfill(json={**route.fetch().json(), **change})

    page.route("**/status", answer)


def test_it_shows_what_the_replica_does(shared: Admin, page: Any) -> None:
    page.goto(shared.url)
    page.get_by_text("replica 0 of 1").wait_for()
    with shared.client() as client:
        for amount in range(5):
            client.call(Counters.add, "ann", amount)
    row = page.locator("#handlers tbody tr", has_text="add")
    executed = shared.ask("/status").json["handlers"][0]["duration_ns"]["count"]
    row.get_by_text(str(executed), exact=True).wait_for()
    page.locator("figure", has_text="Commands").first.get_by_text("decided").wait_for()
    assert page.locator("#replicas tbody tr").count() == 1
    assert page.locator(".notice").count() == 0
    assert page.locator("figure:visible", has_text="Log sync").count() == 0, "with durability memory there is none"


def test_events_appear_as_they_happen(shared: Admin, page: Any) -> None:
    page.goto(shared.url)
    page.locator("#stream", has_text="live").wait_for()
    assert shared.act("/actions/resize-workers", {"workers": 7}).status == 200
    page.locator("#events").get_by_text("7 workers from now on").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_the_colours_that_it_asks_for(shared: Admin, browser: Any, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(shared.url)
    page.get_by_text("replica 0 of 1").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(246, 247, 249)", "dark": "rgb(17, 21, 28)"}[scheme]
    page.get_by_role("button", name="light and dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background
    context.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lag": 5000}, "5,000 slots behind"),
        ({"role": "learner"}, "does not remember its votes"),
        ({"transfer": {"slot": 7, "bytes": 4_000_000, "bytes_done": 1_000_000}}, "1.00 MB of 4.00 MB"),
        ({"log_error": "No space left on device"}, "No space left on device"),
        ({"halted": "agreement is broken", "role": "halted"}, "stopped for good: agreement is broken"),
        ({"active": False, "view": 8}, "view change is going on, to view 8"),
        (
            {"service": {"version": 2, "latest": 3, "schema": ""}},
            "has version 3 of the service, and version 2 is in force",
        ),
    ],
)
def test_it_says_what_is_wrong_with_the_replica_that_it_asks(
    shared: Admin, page: Any, change: dict[str, Any], says: str
) -> None:
    fake_status(page, change)
    page.goto(shared.url)
    page.locator(".notice").get_by_text(says).wait_for()


def test_a_replica_that_is_behind_shows_how_far_the_others_are(shared: Admin, page: Any) -> None:
    status = shared.ask("/status").json
    peer = {"up": True, "last_error": None, "view": 0}
    peers = [
        {**peer, "id": 1, "decided": status["decided"] + 300},
        {**peer, "id": 2, "decided": None, "up": False, "last_error": "<b>refused</b>"},
    ]
    config = shared.ask("/config").json
    config["replicas"] = [{**config["replicas"][0], "id": i} for i in range(3)]
    page.route("**/config", lambda route: route.fulfill(json=config))
    fake_status(page, {"peers": peers, "replicas": 3, "leader": 1})
    page.goto(shared.url)
    rows = page.locator("#replicas tbody tr")
    rows.nth(2).wait_for()
    assert rows.nth(0).locator("td").nth(5).inner_text() == "300"
    assert rows.nth(1).locator("td").nth(1).inner_text() == "leader"
    assert rows.nth(2).locator("td").nth(2).inner_text() == "down <b>refused</b>", "text, not markup"


def test_it_says_that_it_shows_the_past_when_the_replica_is_gone(tmp_path: Path, browser: Any) -> None:
    import pssmr

    page = browser.new_context().new_page()
    page.set_default_timeout(TIMEOUT_MS)
    with pssmr.Replica(Counters(), make_cluster(tmp_path / "cluster"), id=0) as replica:
        page.goto(replica.admin_url)
        page.get_by_text("replica 0 of 1").wait_for()
    page.locator(".notice").get_by_text("What is below is the past").wait_for()
    assert page.locator("body.stale").count() == 1
    page.context.close()


def test_percentiles_and_rates_are_those_of_what_happened_between_two_statuses(shared: Admin, page: Any) -> None:
    page.goto(shared.url)
    page.get_by_text("replica 0 of 1").wait_for()
    before = shared.ask("/status").json
    after = json.loads(json.dumps(before))
    after["uptime_ms"] += 2000
    after["counters"]["commands"] += 500
    after["counters"]["read_replies"] += 300
    after["counters"]["reads_refused"] += 100
    after["request_ns"]["count"] += 100
    old = dict(map(tuple, before["request_ns"]["buckets"]))
    new = {**old, 1 << 20: old.get(1 << 20, 0) + 98, 1 << 30: old.get(1 << 30, 0) + 2}
    after["request_ns"]["buckets"] = sorted(map(list, new.items()))
    after["execution"]["worker"][0]["busy_ns"] += 1_000_000_000
    derived = page.evaluate(
        "async ([before, after]) => (await import('/rates.js')).derive(before, after)", [before, after]
    )
    assert derived["commands"] == 250
    assert derived["queries"] == 100
    p50, p99 = derived["latency"]
    assert (1 << 20) * 0.8 <= p50 <= 1 << 20
    assert (1 << 30) * 0.8 <= p99 <= 1 << 30
    assert derived["busy"][0] == 50
    restarted = page.evaluate(
        "async ([before, after]) => (await import('/rates.js')).derive(after, before)", [before, after]
    )
    assert restarted["commands"] is None
