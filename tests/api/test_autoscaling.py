"""Workers that follow the load of a replica."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pssmr
from tests.api.conftest import StartCluster


class Sleeper(pssmr.Service):
    @pssmr.query(conflicts=lambda service, seconds: [])
    def sleep(self, seconds: float) -> None:
        """Waits, and lets others run meanwhile."""
        time.sleep(seconds)


async def workers_of(client: pssmr.AsyncClient) -> int:
    status: Any = (await client.status())[0]
    count: int = status["execution"]["workers"]
    return count


async def test_a_loaded_replica_gets_workers_and_loses_them_when_it_is_idle(start_cluster: StartCluster) -> None:
    cluster: Path = start_cluster(Sleeper, workers=1, workers_min=1, workers_max=2)
    async with pssmr.AsyncClient(cluster, timeout=60) as client:
        while await workers_of(client) < 2:
            await client.call_many([Sleeper.sleep.bind(0.02)] * 25)
        while await workers_of(client) > 1:  # noqa: ASYNC110 - nobody tells a client
            await asyncio.sleep(0.05)
