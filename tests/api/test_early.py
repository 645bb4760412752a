"""Commands by plans: replies and state are those of `sequential`, and what runs at once is what the plan says."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

import pssmr
from pssmr.early_plan import EarlyPlan, PlannedClass
from pssmr.early_plan_files import render_plan
from pssmr.executor import Executor
from pssmr.planning.service_plan import plan_service
from pssmr.planning.shares import counted_shares
from pssmr.settings import Scheduler


class Shop(pssmr.Service):
    """Every command says how it came after the others on the same key."""

    stock = pssmr.Map[str, int]()
    orders = pssmr.Map[int, int]()
    doors = pssmr.Resource[str]()

    @pssmr.command
    def buy(self, item: Annotated[str, stock.write], order: Annotated[int, orders.write]) -> tuple[int, int]:
        self.stock[item] = self.stock.get(item, 0) * 3 % 1000 + order
        self.orders[order] = self.stock[item]
        return self.stock[item], len(str(order))

    @pssmr.command
    def swap(self, first: Annotated[str, stock.write], second: Annotated[str, stock.write]) -> None:
        self.stock[first], self.stock[second] = self.stock.get(second, 1), self.stock.get(first, 2)

    @pssmr.command
    def count(self, item: Annotated[str, stock.commute]) -> None:
        self.stock.add(item, 1)

    @pssmr.query
    def level(self, item: Annotated[str, stock.read]) -> int:
        return self.stock.get(item, 0)

    @pssmr.query(reads=[stock])
    def all(self) -> list[int]:
        return list(self.stock.values())

    @pssmr.command(exclusive=True)
    def reset(self) -> int:
        left = len(self.stock)
        self.stock.clear()
        return left

    @pssmr.query(reads=[])
    def nothing(self) -> int:
        return 7

    @pssmr.query
    def pass_door(self, door: Annotated[str, doors.read]) -> int:
        return visit(door)


def commands(count: int) -> list[pssmr.Call[Any]]:
    draw = random.Random(5)
    items = [f"item {i}" for i in range(6)]
    makers: list[Callable[[], pssmr.Call[Any]]] = [
        lambda: Shop.buy.bind(draw.choice(items), draw.randrange(5)),
        lambda: Shop.buy.bind(draw.choice(items), draw.randrange(5)),
        lambda: Shop.swap.bind(draw.choice(items), draw.choice(items)),
        lambda: Shop.count.bind(draw.choice(items)),
        lambda: Shop.level.bind(draw.choice(items)),
        lambda: Shop.level.bind(draw.choice(items)),
        Shop.all.bind,
        Shop.nothing.bind,
        Shop.reset.bind,
    ]
    weights = [6, 6, 2, 4, 6, 6, 1, 1, 0.3]
    return [make() for make in draw.choices(makers, weights, k=count)]


def outcome(scheduler: Scheduler, plan: EarlyPlan | None, workers: int) -> tuple[list[Any], bytes]:
    with Executor(Shop(), workers=workers, scheduler=scheduler, plan=plan) as executor:
        replies = [executor.execute([call.payload for call in commands(1500)])]
        return replies, executor.state_digest()


@pytest.mark.parametrize(("division", "partitions"), [("tables", 3), ("keys", 2), ("keys", 5)])
def test_replies_and_state_are_those_of_sequential(division: Any, partitions: int) -> None:
    shares = counted_shares(Shop, [call.payload for call in commands(1500)], division, partitions)
    planned = plan_service(Shop, shares, 3, classes_max=12, method="greedy")
    assert any(len(each.lanes) > 1 for each in planned.early.classes)
    assert outcome("early", planned.early, 4) == outcome("sequential", None, 1)


def test_without_a_plan_each_worker_has_a_part_of_the_keys() -> None:
    assert outcome("early", None, 3) == outcome("sequential", None, 1)


meeting = threading.Barrier(2, timeout=20)
"""Where `pass_door` of "left" and "right" meet."""
inside = threading.Lock()
most = 0
"""How many were between the two doors at once."""
now = 0


def visit(door: str) -> int:
    """Waits for the other door, or counts how many do the same."""
    global most, now
    if door in ("left", "right"):
        return meeting.wait()
    with inside:
        now += 1
        most = max(most, now)
    time.sleep(0.001)  # Others could come in meanwhile.
    with inside:
        now -= 1
    return 0


def doors(*lanes: int) -> EarlyPlan:
    passing = PlannedClass(name="doors", touches=("doors.read",), lanes=lanes)
    return EarlyPlan(lanes=2, tables=("stock", "orders", "doors"), classes=(passing,))


def test_a_replica_runs_at_once_what_its_plan_says(start_cluster: Callable[..., Path]) -> None:
    directory = start_cluster(Shop, run=0, scheduler="early", workers=2, durability="memory")
    (directory / "plan.toml").write_text(render_plan(doors(0, 1)))
    with pssmr.Replica(Shop(), directory, id=0), pssmr.Client(directory) as client:
        met = client.call_many([Shop.pass_door.bind("left"), Shop.pass_door.bind("right")])
        assert sorted(met) == [0, 1], "each in a lane of its own"
        assert client.call_many(commands(200), return_exceptions=True)[-1] is not None


def test_a_replica_runs_one_after_the_other_what_its_plan_has_in_one_lane(start_cluster: Callable[..., Path]) -> None:
    global most
    most = 0
    directory = start_cluster(Shop, run=0, scheduler="early", workers=4, durability="memory")
    (directory / "plan.toml").write_text(render_plan(doors(1)))
    with pssmr.Replica(Shop(), directory, id=0), pssmr.Client(directory) as client:
        client.call_many([Shop.pass_door.bind("back")] * 60)
    assert most == 1


def test_a_replica_refuses_a_plan_for_another_service(start_cluster: Callable[..., Path]) -> None:
    directory = start_cluster(Shop, run=0, scheduler="early", durability="memory")
    passing = PlannedClass(name="x", touches=("entries.read",), lanes=(0,))
    plan = EarlyPlan(lanes=1, tables=("entries",), classes=(passing,))
    (directory / "plan.toml").write_text(render_plan(plan))
    with pytest.raises(pssmr.ConfigError, match=r"is for the tables entries, but the service has stock, orders, doors"):
        pssmr.Replica(Shop(), directory, id=0).start()


def test_only_early_takes_a_plan() -> None:
    with pytest.raises(pssmr.ConfigError, match="scheduler keyed has no plan; choose early"):
        Executor(Shop(), plan=doors(0))
    with pytest.raises(pssmr.ConfigError, match='"late" is no scheduler: there are keyed'):
        Executor(Shop(), scheduler="late")  # type: ignore[arg-type]
