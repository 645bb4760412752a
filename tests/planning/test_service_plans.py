"""Plans for services: what commands touch, by declaration or counted; classes, lanes, loads; the picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Annotated

import pytest

import pssmr
from pssmr.planning import PlanningError
from pssmr.planning.picture import draw
from pssmr.planning.service_plan import ANYTHING, NOTHING, ServicePlan, plan_service
from pssmr.planning.shares import Shares, counted_shares, declared_shares


class Shop(pssmr.Service):
    stock = pssmr.Map[str, int]()
    orders = pssmr.Map[int, int]()

    @pssmr.query
    def level(self, item: Annotated[str, stock.read]) -> None: ...

    @pssmr.command
    def count(self, item: Annotated[str, stock.commute]) -> None: ...

    @pssmr.command
    def buy(self, item: Annotated[str, stock.write], order: Annotated[int, orders.write]) -> None: ...

    @pssmr.command
    def copy(self, source: Annotated[str, stock.read], target: Annotated[str, stock.write]) -> None: ...

    @pssmr.query(reads=[orders])
    def history(self) -> None: ...

    @pssmr.command
    def fill(self, items: Annotated[list[str], stock.write]) -> None: ...

    @pssmr.query
    def overview(self) -> None: ...

    @pssmr.command
    def reset(self) -> None: ...

    @pssmr.command(conflicts=lambda shop, item: [shop.stock.write[item]] if item else [])
    def maybe(self, item: str) -> None: ...


def of_one(command: str, division: str, partitions: int) -> Shares:
    return declared_shares(Shop, {command: 3}, division, partitions)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "touches"),
    [
        ("level", ((0, "read"),)),
        ("count", ((0, "commute"),)),
        ("buy", ((0, "write"), (1, "write"))),
        ("copy", ((0, "write"),)),
        ("history", ((1, "read"),)),
        ("fill", ((0, "write"),)),
    ],
)
def test_a_declaration_says_which_tables_a_command_touches(command: str, touches: tuple[tuple[int, str], ...]) -> None:
    shares = of_one(command, "tables", 2)
    assert shares.known == {touches: {command: pytest.approx(1)}}
    assert shares.anything == {}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("level", {((0, "read"),): 0.5, ((1, "read"),): 0.5}),
        ("buy", {((0, "write"),): 0.25, ((1, "write"),): 0.25, ((0, "write"), (1, "write")): 0.5}),
        (
            "copy",
            {
                ((0, "write"),): 0.25,
                ((1, "write"),): 0.25,
                ((0, "read"), (1, "write")): 0.25,
                ((0, "write"), (1, "read")): 0.25,
            },
        ),
        ("history", {((0, "read"), (1, "read")): 1}),
        ("fill", {((0, "write"), (1, "write")): 1}),
        ("overview", {((0, "read"), (1, "read")): 1}),
    ],
)
def test_the_keys_of_a_declaration_are_spread_evenly(
    command: str, expected: dict[tuple[tuple[int, str], ...], float]
) -> None:
    shares = of_one(command, "keys", 2)
    assert {touches: sum(each.values()) for touches, each in shares.known.items()} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("command", "division"),
    [("reset", "tables"), ("reset", "keys"), ("overview", "tables"), ("maybe", "tables"), ("maybe", "keys")],
)
def test_what_is_not_declared_may_be_anything(command: str, division: str) -> None:
    shares = of_one(command, division, 2)
    assert (shares.known, shares.anything) == ({}, {command: pytest.approx(1)})


def test_what_has_too_many_combinations_may_be_anything() -> None:
    assert of_one("buy", "keys", 64).known
    assert of_one("buy", "keys", 65).anything


def test_counting_sees_what_each_command_touches() -> None:
    calls = [Shop.maybe.bind("tea"), Shop.maybe.bind(""), Shop.buy.bind("tea", 5), Shop.buy.bind("milk", 6)]
    payloads = [call.payload for call in calls]
    shares = counted_shares(Shop, payloads, "tables", 2)
    assert shares.known == {
        ((0, "write"),): {"maybe": 0.25},
        (): {"maybe": 0.25},
        ((0, "write"), (1, "write")): {"buy": 0.5},
    }
    by_key = counted_shares(Shop, payloads * 5, "keys", 7)
    assert sum(sum(each.values()) for each in by_key.known.values()) == pytest.approx(1)
    assert {len(touches) for touches in by_key.known} <= {0, 1, 2}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"levle": 1}, "Shop has no command 'levle', did you mean 'level'"),
        ({"level": -1}, "the weight of level is -1, but a weight is a finite number of 0 or above"),
        ({"level": float("nan")}, "the weight of level is nan"),
        ({"level": float("inf")}, "the weight of level is inf, but a weight is a finite number of 0 or above"),
        ({"level": 0}, "no command has a weight"),
        ({}, "no command has a weight"),
    ],
)
def test_weights_that_can_not_be_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(PlanningError, match=message):
        declared_shares(Shop, weights, "tables", 2)


def test_commands_that_replicas_refuse_are_not_counted() -> None:
    with pytest.raises(PlanningError, match="there are no commands"):
        counted_shares(Shop, [], "tables", 2)
    with pytest.raises(PlanningError, match="sell: unknown command"):
        counted_shares(Shop, [b"\x04sell\x90"], "tables", 2)


def planned(weights: dict[str, float], division: str = "tables", partitions: int = 2, lanes: int = 4) -> ServicePlan:
    shares = declared_shares(Shop, weights, division, partitions)  # type: ignore[arg-type]
    return plan_service(Shop, shares, lanes, method="greedy")


def test_weights_count_only_beside_each_other_however_large_they_are() -> None:
    assert planned({"level": 1.5e308, "history": 0.5e308}) == planned({"level": 3, "history": 1})


def test_readers_of_different_tables_share_the_lanes() -> None:
    plan = planned({"level": 3, "history": 1})
    assert [each.name for each in plan.classes] == ["stock.read", "orders.read"]
    assert plan.speed_up > 3
    assert plan.early.tables == ("stock", "orders")
    assert sum(plan.loads) == pytest.approx(1)


def test_what_touches_less_comes_first() -> None:
    plan = planned({"buy": 1, "copy": 1, "level": 1, "count": 1, "history": 1})
    assert [each.name for each in plan.classes] == [
        "stock.commute",
        "stock.read",
        "orders.read",
        "stock.write",
        "stock.write orders.write",
    ]


def test_writers_of_different_parts_of_the_keys_run_at_once() -> None:
    plan = planned({"maybe": 0, "level": 1, "count": 9}, "keys", 4)
    assert plan.early.key_partitions == 4
    assert plan.speed_up > 2


def test_what_may_be_anything_goes_to_all_lanes_and_has_its_load_there() -> None:
    plan = planned({"level": 1, "reset": 1})
    anything = plan.classes[-1]
    assert (anything.name, anything.planned, anything.lanes, anything.synchronised) == (
        ANYTHING,
        False,
        (0, 1, 2, 3),
        True,
    )
    assert [each.name for each in plan.early.classes] == ["stock.read"]
    assert plan.loads == pytest.approx([0.5 + 0.5 / 4] * 4)
    assert plan.speed_up == pytest.approx(1.6)


def test_what_touches_nothing_goes_to_any_lane() -> None:
    shares = counted_shares(Shop, [Shop.maybe.bind("").payload, Shop.level.bind("x").payload], "tables", 2)
    plan = plan_service(Shop, shares, 2, method="greedy")
    assert plan.classes[-1].name == NOTHING
    assert plan.loads == pytest.approx([0.5, 0.5])


def test_rare_combinations_are_in_no_class() -> None:
    shares = declared_shares(Shop, {"buy": 1, "level": 8}, "keys", 8)
    plan = plan_service(Shop, shares, 4, classes_max=10, method="greedy")
    assert len(plan.early.classes) == 10
    assert {f"{partition}.read" for partition in range(8)} < {each.name for each in plan.early.classes}
    assert sum(each.share for each in plan.classes) == pytest.approx(1)
    assert plan.classes[-1].name == ANYTHING


def test_a_service_that_declares_nothing_has_no_plan() -> None:
    with pytest.raises(PlanningError, match=r"every command of Shop may touch anything.*declare what they touch"):
        planned({"reset": 1})


def test_the_picture_shows_every_class_and_every_lane() -> None:
    plan = planned({"buy": 1, "level": 5, "reset": 1})
    root = ET.fromstring(draw(plan))
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    for name in ("stock.read (level)", "stock.write orders.write (buy)", "anything else (reset)"):
        assert name in texts
    assert {f"lane {lane}" for lane in range(4)} <= set(texts)
    assert f"Shop: at most {plan.speed_up:.2f} times one lane" in texts
    assert [text for text in texts if text.endswith("%") and "." not in text] == [f"{load:.0%}" for load in plan.loads]
