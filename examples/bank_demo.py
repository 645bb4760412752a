"""The bank under load while its leader is killed: `make demo`.

Starts four replicas, each a process, on this machine; opens accounts; runs transfers, deposits, reads and totals from
concurrent clients; kills the leader halfway with SIGKILL; and checks at the end that no money was made or lost, that
every acknowledged order was executed exactly once, and that the surviving replicas have the same state.

Exits with 1 if any check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import pssmr
from pssmr.testing import LocalCluster

sys.path.insert(0, str(Path(__file__).parent))
from bank import Bank, Overdrawn

OPENING_AMOUNT = 1_000
TRANSFER, DEPOSIT, BALANCE, TOTAL = range(4)
SHARES = (0.70, 0.15, 0.1499, 0.0001)
console = Console(highlight=False, soft_wrap=True)


@dataclass
class Load:
    """What the clients will do: everything is drawn from the seed before the first request is sent."""

    kinds: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    amounts: npt.NDArray[np.int64]
    owners: list[str]

    @classmethod
    def draw(cls, seed: int, operations: int, accounts: int) -> Load:
        """Draws a load in which a few accounts are used much and most are used little (zipf)."""
        draw = np.random.default_rng(seed)
        rank = draw.permutation(accounts)
        sources, targets = (rank[(draw.zipf(1.2, operations) - 1) % accounts] for _ in range(2))
        return cls(
            kinds=draw.choice(4, operations, p=SHARES),
            sources=sources,
            targets=np.where(targets == sources, (targets + 1) % accounts, targets),
            amounts=draw.integers(1, 50, operations),
            owners=[f"account-{i:05}" for i in range(accounts)],
        )


@dataclass
class Outcome:
    """What became of the load."""

    load: Load
    next: int = 0
    done: int = 0
    executions: npt.NDArray[np.int64] = field(init=False)
    """How often the journal must have each order: 1 if it was acknowledged, 0 if refused or no order, -1 if unknown."""
    latencies: npt.NDArray[np.float64] = field(init=False)
    ends: npt.NDArray[np.float64] = field(init=False)
    refused: int = 0
    unknown: int = 0
    half_done: asyncio.Event = field(default_factory=asyncio.Event)
    torn_totals: int = 0

    def __post_init__(self) -> None:
        """Makes room for one entry for each operation."""
        operations = len(self.load.kinds)
        self.executions = np.zeros(operations, np.int64)
        self.latencies = np.zeros(operations)
        self.ends = np.zeros(operations)


async def work(client: pssmr.AsyncClient, outcome: Outcome) -> None:
    """Takes one operation after the other until none is left."""
    load, operations = outcome.load, len(outcome.load.kinds)
    while outcome.next < operations:
        order = outcome.next
        outcome.next += 1
        began = time.perf_counter()
        try:
            await send(client, load, order, outcome)
        except Overdrawn:
            outcome.refused += 1
        except pssmr.OutcomeUnknown:
            outcome.unknown += 1
            outcome.executions[order] = -1
        ended = time.perf_counter()
        outcome.latencies[order] = ended - began
        outcome.ends[order] = ended
        outcome.done += 1
        if outcome.done == operations // 2:
            outcome.half_done.set()


async def send(client: pssmr.AsyncClient, load: Load, order: int, outcome: Outcome) -> None:
    """Carries out one operation."""
    source, amount = load.owners[load.sources[order]], int(load.amounts[order])
    match load.kinds[order]:
        case 0:
            await client.call(Bank.transfer, source, load.owners[load.targets[order]], amount, order)
            outcome.executions[order] = 1
        case 1:
            await client.call(Bank.deposit, source, amount, order)
            outcome.executions[order] = 1
        case 2:
            await client.call(Bank.balance, source)
        case _:
            # Of transfers that run at the same time, a total sees all or nothing.
            total = await client.call(Bank.total)
            outcome.torn_totals += not is_possible_total(outcome, total)


def is_possible_total(outcome: Outcome, total: int) -> bool:
    """Whether a total is the opening money with some of the deposits that were sent so far."""
    opened = OPENING_AMOUNT * len(outcome.load.owners)
    sent = slice(0, outcome.next)
    deposits = outcome.load.amounts[sent][outcome.load.kinds[sent] == DEPOSIT]
    return opened <= total <= opened + int(deposits.sum())


async def kill_leader_halfway(cluster: LocalCluster, outcome: Outcome) -> tuple[int, float]:
    """Kills the leader once half of the load is done, and gives its id and the time."""
    await outcome.half_done.wait()
    leader = await asyncio.to_thread(cluster.leader)
    killed_at = time.perf_counter()
    await asyncio.to_thread(cluster.kill, leader)
    console.print(f"killed the leader, replica {leader}, with SIGKILL after {outcome.done:,} operations")
    return leader, killed_at


async def show_progress(outcome: Outcome) -> None:
    """Shows how far the load is: a bar on a terminal, a line every other second elsewhere."""
    total = len(outcome.load.kinds)
    if not console.is_terminal:
        while outcome.done < total:
            await asyncio.sleep(2)
            console.print(f"{outcome.done:>9,} of {total:,} operations")
        return
    columns = (TextColumn("operations"), BarColumn(None), MofNCompleteColumn(), TextColumn("{task.fields[rate]}/s"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("operations", total=total, rate="")
        before, then = 0, time.perf_counter()
        while outcome.done < total:
            await asyncio.sleep(0.2)
            now = time.perf_counter()
            progress.update(task, completed=outcome.done, rate=f"{(outcome.done - before) / (now - then):,.0f}")
            before, then = outcome.done, now


async def open_accounts(client: pssmr.AsyncClient, owners: list[str]) -> None:
    """Opens the accounts, some thousand with a command."""
    for first in range(0, len(owners), 2_000):
        await client.call(Bank.open_accounts, owners[first : first + 2_000], OPENING_AMOUNT)


async def run_load(cluster: LocalCluster, outcome: Outcome, clients: int, in_flight: int) -> tuple[int, float, float]:
    """Runs the load, and gives the leader that was killed, when, and how long all took."""
    connected = [cluster.async_client() for _ in range(clients)]
    try:
        for client in connected:
            await client.__aenter__()
        await open_accounts(connected[0], outcome.load.owners)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(kill_leader_halfway(cluster, outcome))
            progress = group.create_task(show_progress(outcome))
            workers = [group.create_task(work(client, outcome)) for client in connected for _ in range(in_flight)]
            await asyncio.gather(*workers)
            took = time.perf_counter() - began
            await progress
        return *killing.result(), took
    finally:
        for client in connected:
            await client.__aexit__(None, None, None)


async def check(cluster: LocalCluster, outcome: Outcome) -> list[tuple[bool, str]]:
    """What was promised, and whether it was kept."""
    load, operations = outcome.load, len(outcome.load.kinds)
    async with cluster.async_client() as client:
        executed: list[int] = []
        for first in range(0, operations, 20_000):
            executed += await client.call(Bank.executions, first, min(first + 20_000, operations) - 1)
        total = await client.call(Bank.total)
        digests = await client.state_digests()
    journal, expected = np.array(executed), outcome.executions
    known = expected >= 0
    acknowledged = int((expected == 1).sum())
    lost = int((journal[expected == 1] == 0).sum())
    twice = int((journal > 1).sum())
    wrong = int((journal[known] != expected[known]).sum())
    deposited = int(load.amounts[(load.kinds == DEPOSIT) & (journal > 0)].sum())
    money = OPENING_AMOUNT * len(load.owners) + deposited
    survivors = sorted(cluster.running())
    states = {digests.get(replica) for replica in survivors}
    return [
        (total == money, f"money is conserved: {total:,} in the accounts, {money:,} opened and deposited"),
        (outcome.torn_totals == 0, "every total that was read under load is a possible one"),
        (
            lost == twice == wrong == 0,
            f"all {acknowledged:,} acknowledged orders were executed exactly once ({lost} lost, {twice} twice); "
            f"{outcome.refused:,} refused ones left no trace; {outcome.unknown} unknown",
        ),
        (
            len(states) == 1 and None not in states,
            f"replicas {', '.join(map(str, survivors))} have the same state: {(next(iter(states)) or b'').hex()[:16]}",
        ),
    ]


def longest_gap(ends: npt.NDArray[np.float64], killed_at: float) -> float:
    """The longest time in which no operation completed, among those after the kill."""
    after = np.sort(ends[ends >= killed_at])
    return float(np.diff(np.concatenate(([killed_at], after))).max()) if len(after) else float("inf")


async def demonstrate(options: argparse.Namespace) -> bool:
    """Runs all of it, and says whether every promise was kept."""
    seed = options.seed if options.seed is not None else secrets.randbits(32)
    load = Load.draw(seed, options.operations, options.accounts)
    console.print(
        f"{options.operations:,} operations on {options.accounts:,} accounts, seed {seed} "
        f"(again the same: --seed {seed})"
    )
    outcome = Outcome(load)
    async with LocalCluster(Bank, replicas=options.replicas, fault_model=options.fault_model) as cluster:
        processes = ", ".join(str(cluster.process(i).pid) for i in range(options.replicas))
        console.print(f"{options.replicas} replicas run, fault model {options.fault_model}: processes {processes}")
        leader, killed_at, took = await run_load(cluster, outcome, options.clients, options.in_flight)
        checks = await check(cluster, outcome)
        async with cluster.async_client() as client:
            views = [status["view"] for status in (await client.status()).values() if status is not None]
    p50, p99 = np.percentile(outcome.latencies, (50, 99)) * 1000
    console.print(
        f"{options.operations / took:,.0f} operations/s for {took:.1f} s; latency p50 {p50:.1f} ms, p99 {p99:.1f} ms\n"
        f"fail-over: {longest_gap(outcome.ends, killed_at) * 1000:,.0f} ms without a reply after replica {leader} was "
        f"killed; view {max(views)} now"
    )
    for kept, what in checks:
        console.print(f"{'[green]ok[/green]  ' if kept else '[red]FAILED[/red]'} {what}")
    return all(kept for kept, _ in checks)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=300_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--fault-model", choices=("bft", "cft"), default="bft")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=128, help="operations under way for each client")
    parser.add_argument("--seed", type=int, help="drawn at random by default")
    return parser.parse_args()


async def demonstrate_until_interrupted(options: argparse.Namespace) -> bool:
    """The same, stopped in an orderly way by the first Ctrl-C."""
    demonstration = asyncio.create_task(demonstrate(options))
    # asyncio's own handler would raise KeyboardInterrupt wherever the second Ctrl-C finds the loop.
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGINT, lambda: demonstration.cancelling() or demonstration.cancel()
    )
    return await demonstration


def main() -> None:
    """Runs the demonstration, and exits with 1 if a promise was broken."""
    try:
        kept = asyncio.run(demonstrate_until_interrupted(parse_options()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped")
        sys.exit(130)
    except pssmr.Error as error:
        console.print(f"error: {error}", style="red", markup=False)
        sys.exit(1)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
