"""Clients and replicas of Python services, end to end in one process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import pssmr
from pssmr.cluster_keys import generate_key
from tests.api.conftest import StartCluster
from tests.api.ledger import Ledger, arm_block, blocked, released


@pytest.fixture
def cluster(start_cluster: StartCluster) -> Path:
    """A cluster of one replica."""
    return start_cluster(Ledger)


async def test_commands_get_results_from_four_replicas(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, replicas=4)
    async with pssmr.AsyncClient(cluster, timeout=60) as client:
        assert await client.call(Ledger.add, "ann", amount=5) == 5
        assert await client.call(Ledger.read, "bob") is None
        calls = [Ledger.add.bind(name) for name in ("ann", "bob") for _ in range(500)]
        results = await client.call_many(calls)
        assert sorted(results[:500]) == list(range(6, 506))
        assert sorted(results[500:]) == list(range(1, 501))
        digests = await client.state_digests()
        assert len(digests) >= 3
        assert len(set(digests.values())) == 1
        statuses = await client.status(timeout=30)
        assert {replica: status and status["id"] for replica, status in statuses.items()} == {0: 0, 1: 1, 2: 2, 3: 3}


def test_the_blocking_client_does_the_same(cluster: Path) -> None:
    with pssmr.Client(cluster, timeout=60, in_flight_max=16) as client:
        assert client.call(Ledger.add, "ann", amount=5) == 5
        assert client.call_many(Ledger.add.bind("bob") for _ in range(300)) == list(range(1, 301))
        assert client.with_timeout(30).call(Ledger.read, "ann") == 5
        assert list(client.state_digests()) == [0]
        (status,) = client.status().values()
        assert status is not None
        assert status["role"] == "leader"


@pytest.mark.parametrize("wrong", ["add", None, Ledger().add, 5, Ledger])
async def test_what_is_no_command_is_refused_with_what_to_give(cluster: Path, wrong: Any) -> None:
    with pssmr.Client(cluster, timeout=60) as client:
        with pytest.raises(TypeError, match=r"is no command: give the one of the service class"):
            client.call(wrong, "ann")
        for send in (client.execute, lambda call: client.call_many([call]), lambda call: client.batch([call])):
            with pytest.raises(TypeError, match=r"is no request: bind a command of the service class to its arguments"):
                send(wrong)
    async with pssmr.AsyncClient(cluster, timeout=60) as client:
        with pytest.raises(TypeError, match="is no command"):
            await client.call(wrong, "ann")
        with pytest.raises(TypeError, match="is no request"):
            await client.call_many([Ledger.add.bind("ann"), wrong])
        with pytest.raises(TypeError, match="is no request"):
            await client.transaction([wrong])
        assert await client.call(Ledger.add, "bob") == 1, "and the client goes on"


async def test_every_kind_of_error_has_its_class(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, request_bytes_max=2000, result_bytes_max=4000)
    async with pssmr.AsyncClient(cluster, timeout=60) as client:
        with pytest.raises(pssmr.Refused) as refused:
            await client.call(Ledger.refuse)
        assert refused.value.args == ("no", 5)
        with pytest.raises(pssmr.HandlerFailed, match="LookupError"):
            await client.call(Ledger.fail)
        with pytest.raises(pssmr.ArgumentError, match="add: argument 'amount': expected int, got str"):
            await client.call(Ledger.add, "ann", amount="5")  # type: ignore[arg-type]
        with pytest.raises(pssmr.RequestTooLarge, match="the limit is 2000"):
            await client.call(Ledger.repeat, "x" * 2000, 1)
        with pytest.raises(pssmr.HandlerFailed):
            await client.call(Ledger.repeat, "x" * 1000, 10)
        outcomes: list[Any] = await client.call_many(
            [Ledger.refuse.bind(), Ledger.read.bind("ann")], return_exceptions=True
        )
        assert type(outcomes[0]) is pssmr.Refused
        assert outcomes[1] is None
        with pytest.raises(pssmr.Refused):
            await client.call_many([Ledger.read.bind("ann"), Ledger.refuse.bind()])


def test_a_command_that_the_replicas_do_not_have_is_unknown(cluster: Path) -> None:
    class Newer(pssmr.Service):
        @pssmr.command
        def brand_new(self) -> None: ...

    with pssmr.Client(cluster, timeout=60) as client, pytest.raises(pssmr.UnknownCommand, match="brand_new"):
        client.call(Newer.brand_new)


async def test_more_calls_than_may_be_in_flight_wait_for_room(cluster: Path) -> None:
    async with pssmr.AsyncClient(cluster, timeout=60, in_flight_max=2) as client:
        results = await asyncio.gather(*(client.call(Ledger.add, "ann") for _ in range(50)))
        assert sorted(results) == list(range(1, 51))


async def test_a_client_belongs_to_one_event_loop(cluster: Path) -> None:
    async with pssmr.AsyncClient(cluster, timeout=60) as client:
        with pytest.raises(pssmr.Error, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(client.call(Ledger.read, "ann")))
        assert await client.call(Ledger.read, "ann") is None


async def test_a_cancelled_call_leaves_room_and_the_command_may_be_executed(cluster: Path) -> None:
    arm_block()
    async with pssmr.AsyncClient(cluster, timeout=60, in_flight_max=2) as client:
        await client.call(Ledger.read, "ann")
        task = asyncio.create_task(client.call(Ledger.block, "ann"))
        assert await asyncio.to_thread(blocked.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        released.set()
        assert [await client.call(Ledger.add, "bob") for _ in range(4)] == [1, 2, 3, 4]
        assert await client.call(Ledger.add, "ann") == 2


async def test_no_answer_in_time_leaves_the_outcome_unknown(cluster: Path) -> None:
    arm_block()
    async with pssmr.AsyncClient(cluster, timeout=60) as client:
        await client.call(Ledger.read, "ann")
        with pytest.raises(pssmr.OutcomeUnknown, match="whether the request was executed is not known"):
            await client.with_timeout(1).call(Ledger.block, "ann")
        released.set()
        assert await client.call(Ledger.add, "ann") == 2


async def test_closing_leaves_the_outcome_of_what_is_under_way_unknown(cluster: Path) -> None:
    arm_block()
    client = await pssmr.AsyncClient(cluster, timeout=60).open()
    await client.call(Ledger.read, "ann")
    task = asyncio.create_task(client.call(Ledger.block, "ann"))
    assert await asyncio.to_thread(blocked.wait, 30)
    await client.close()
    released.set()
    with pytest.raises(pssmr.OutcomeUnknown, match="closed"):
        await task
    with pytest.raises(pssmr.Closed):
        await client.call(Ledger.read, "ann")
    await client.close()


def test_closing_ends_what_other_threads_wait_for(cluster: Path) -> None:
    arm_block()
    client = pssmr.Client(cluster, timeout=60).open()
    client.call(Ledger.read, "ann")
    raised: list[BaseException] = []

    def block() -> None:
        try:
            client.call(Ledger.block, "ann")
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=block)
    thread.start()
    assert blocked.wait(30)
    client.close()
    released.set()
    thread.join(30)
    assert [type(error) for error in raised] == [pssmr.OutcomeUnknown]
    with pytest.raises(pssmr.Closed):
        client.call(Ledger.read, "ann")
    client.close()


def test_too_few_replicas_are_named_with_the_reason(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, replicas=4, run=1)
    with pssmr.Client(cluster, timeout=1.5) as client:
        with pytest.raises(pssmr.NoQuorum, match=r"replica 3: .*refused"):
            client.call(Ledger.read, "ann")
        statuses = client.status(timeout=2)
        assert statuses.pop(0) is not None
        assert statuses == {1: None, 2: None, 3: None}


def test_a_client_that_the_replicas_do_not_know_is_told_so(cluster: Path, tmp_path: Path) -> None:
    config = pssmr.ClusterConfig.load(cluster)
    stranger = generate_key(tmp_path / "stranger.pem")
    known = config.clients[0]
    told = pssmr.ClusterConfig(
        name=config.name,
        id=config.id,
        fault_model=config.fault_model,
        replicas=config.replicas,
        clients=(type(known)(name="stranger", key=stranger),),
        keys=tmp_path,
    )
    with (
        pssmr.Client(told, timeout=1.5) as client,
        pytest.raises(pssmr.WrongKey, match=r"replica 0: .*does not accept our key"),
    ):
        client.call(Ledger.read, "ann")


def test_handlers_know_their_client(cluster: Path) -> None:
    with pssmr.Client(cluster, timeout=60) as client:
        assert len(client.call(Ledger.client)) == 16


@pytest.mark.parametrize("options", [{"timeout": 0}, {"in_flight_max": 0}, {"in_flight_max": 4001}, {"key": "nobody"}])
def test_options_that_cant_be_are_refused(cluster: Path, options: dict[str, Any]) -> None:
    with pytest.raises(pssmr.ConfigError):
        pssmr.Client(cluster, **options)
    with pytest.raises(pssmr.ConfigError):
        pssmr.AsyncClient(cluster, **options)


async def test_what_is_not_open_says_so(cluster: Path) -> None:
    with pytest.raises(pssmr.Closed, match="use it in `with`"):
        pssmr.Client(cluster).call(Ledger.refuse)
    with pytest.raises(pssmr.Closed, match="use it in `async with`"):
        await pssmr.AsyncClient(cluster).call(Ledger.refuse)
    with pytest.raises(pssmr.Closed, match="the replica is not started"):
        pssmr.Replica(Ledger(), cluster, id=0).status()


def test_a_replica_says_how_it_is_and_where(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, run=0)
    service = Ledger()
    with pssmr.Replica(service, cluster, id=0) as replica:
        assert replica.status()["role"] in ("leader", "follower")
        assert replica.client_address == replica.config.replicas[0].clients
        assert replica.halted is None
        assert replica.events() == []
        with pytest.raises(pssmr.UndeclaredAccess, match="belongs to a replica"):
            service.entries["ann"] = 1
        with pytest.raises(OSError, match="another process listens there"):
            pssmr.Replica(Ledger(), _without_data(cluster), id=0).start()
        with pytest.raises(pssmr.ConfigError, match="in use by"):
            pssmr.Replica(Ledger(), cluster, id=0).start()
    with pytest.raises(pssmr.Closed, match="belongs to another replica"):
        pssmr.Replica(service, cluster, id=0).start()


def _without_data(cluster: Path) -> pssmr.ClusterConfig:
    config = pssmr.ClusterConfig.load(cluster)
    return pssmr.ClusterConfig(
        name=config.name,
        id=config.id,
        fault_model=config.fault_model,
        replicas=config.replicas,
        clients=config.clients,
        settings=pssmr.Settings(durability="memory"),
        keys=config.keys,
    )


async def test_a_replica_that_stops_for_good_says_why(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, run=0)
    async with pssmr.Replica(Ledger(), cluster, id=0) as replica:
        async with pssmr.AsyncClient(cluster, timeout=1) as client:
            with pytest.raises((pssmr.OutcomeUnknown, pssmr.Unavailable)):
                await client.call(Ledger.stop)
        with pytest.raises(pssmr.ReplicaStopped, match=r"Ledger.stop raised MemoryError"):
            await asyncio.wait_for(replica.wait(), 30)
        assert replica.events()[-1]["event"] == "halted"


async def test_wait_ends_when_the_replica_is_stopped(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, run=0)
    async with pssmr.Replica(Ledger(), cluster, id=0) as replica:
        waiting = asyncio.create_task(replica.wait())
        await asyncio.sleep(0)
    await asyncio.wait_for(waiting, 30)


PROGRAM = """
import os, signal, sys, threading, time
import pssmr
from tests.api.ledger import Ledger, arm_block, blocked, released
cluster = sys.argv[1]
client = pssmr.Client(cluster, timeout=60).open()
client.call(Ledger.read, "ann")
{rest}
"""


def run_program(rest: str, cluster: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(rest=rest), str(cluster)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )


def test_ctrl_c_interrupts_a_call(cluster: Path) -> None:
    arm_block()
    # Where tests run in a shell's background, SIGINT is ignored from birth.
    rest = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.5, lambda: os.kill(os.getpid(), {int(signal.SIGINT)})).start()
try:
    client.call(Ledger.block, "ann")
except KeyboardInterrupt:
    print("interrupted")
"""
    done = run_program(rest, cluster)
    released.set()
    assert done.stdout == "interrupted\n", done.stderr
    assert done.returncode == 0


def test_a_process_that_was_forked_off_is_told_to_make_a_client_of_its_own(cluster: Path) -> None:
    rest = """
child = os.fork()
if not child:
    try:
        client.call(Ledger.read, "ann")
    except pssmr.Closed as error:
        print(error, flush=True)
    client.close()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert client.call(Ledger.add, "ann") == 1
"""
    done = run_program(rest, cluster)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the client was made before this process was forked off: make one here\n"


@pytest.mark.parametrize(
    "rest",
    [
        "threading.Thread(target=lambda: client.call(Ledger.block, 'ann'), daemon=True).start(); time.sleep(0.3)",
        "other = pssmr.Client(cluster, timeout=60).open(); other.call(Ledger.read, 'ann'); del other",
        "import asyncio; asyncio.run(pssmr.AsyncClient(cluster).open())",
    ],
    ids=["a daemon thread waits", "one is forgotten", "a loop ended before"],
)
def test_the_interpreter_ends_in_order_with_clients_left_open(cluster: Path, rest: str) -> None:
    arm_block()
    done = run_program(rest, cluster)
    released.set()
    assert (done.returncode, done.stderr) == (0, "")


def test_the_end_of_the_interpreter_may_wait_for_a_thread_that_waits_for_a_client(cluster: Path) -> None:
    arm_block()
    rest = """
def block():
    try:
        client.call(Ledger.block, "ann")
    except pssmr.OutcomeUnknown:
        print("unknown")
thread = threading.Thread(target=block, daemon=True)
thread.start()
import atexit
from pssmr import closing
# As if the program had registered this before it imported pssmr: what is registered first is called last.
atexit.unregister(closing._close_all)
atexit.register(thread.join)
atexit.register(closing._close_all)
"""
    done = run_program(rest, cluster)
    released.set()
    assert (done.returncode, done.stdout, done.stderr) == (0, "unknown\n", "")


def test_what_the_core_logs_comes_to_logging_until_the_end(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, run=0)
    program = """
import contextlib, logging, sys, threading, time
logging.basicConfig(level=logging.INFO)
import pssmr
from tests.api.ledger import Ledger
replica = pssmr.Replica(Ledger(), sys.argv[1], id=0).start()
client = pssmr.Client(sys.argv[1], timeout=60).open()
def call():
    with contextlib.suppress(pssmr.Error):
        client.call(Ledger.stop)
caller = threading.Thread(target=call)
caller.start()
while replica.halted is None:
    time.sleep(0.01)
client.close()
caller.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(cluster)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert "INFO:pssmr.replica:replica started replica=r0" in done.stderr
    assert "CRITICAL:pssmr.handler:Ledger.stop raised; the replica stops" in done.stderr
    assert "ERROR:pssmr.replica:halted: this replica does nothing more" in done.stderr


def test_the_interpreter_ends_in_order_with_a_replica_left_running(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, run=0)
    program = """
import sys, threading, time
import pssmr
from tests.api.ledger import Ledger
replica = pssmr.Replica(Ledger(), sys.argv[1], id=0).start()
client = pssmr.Client(sys.argv[1], timeout=60).open()
calls = [Ledger.add.bind("ann") for _ in range(100)]
def load():
    while True:
        client.call_many(calls)
client.call_many(calls)
for _ in range(3):
    threading.Thread(target=load, daemon=True).start()
client.call_many(calls)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(cluster)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
