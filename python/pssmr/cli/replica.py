"""`pssmr replica`: one replica until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Literal

from pssmr.cli.output import messages
from pssmr.cli.services import new_service
from pssmr.cluster_parent import end_with_parent
from pssmr.cluster_processes import READY
from pssmr.config import ClusterConfig
from pssmr.exit_codes import ExitCode
from pssmr.logs import JsonFormatter
from pssmr.replica import Replica
from pssmr.settings import RECORD_BYTES_MAX

_log = logging.getLogger("pssmr")


def run_replica(
    application: str,
    cluster: Path,
    replica_id: int,
    *,
    key: Path | None,
    parent: int | None,
    verbose: bool,
    log_format: Literal["text", "json"] = "text",
    record: Path | None = None,
    record_bytes_max: int = RECORD_BYTES_MAX,
) -> ExitCode:
    """Runs a replica until SIGTERM, SIGINT, or the end of the parent."""
    if parent is not None:
        end_with_parent(parent)
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(JsonFormatter(replica_id) if log_format == "json" else text)
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    config = ClusterConfig.load(cluster)
    service = new_service(application)
    replica = Replica(service, config, id=replica_id, key=key, record=record, record_bytes_max=record_bytes_max)
    try:
        asyncio.run(_serve(replica))
    except OSError as error:
        me = config.replica(replica_id)
        places = [me.peers_listener, me.clients_listener, *([me.admin] if me.admin else [])]
        where = f"{', '.join(places[:-1])} and {places[-1]}"
        messages.print(
            f"pssmr: error: replica {replica_id} can't listen at {where}: {error}", style="red", markup=False
        )
        return ExitCode.ADDRESS
    return ExitCode.OK


async def _serve(replica: Replica) -> None:
    """Runs the replica until a signal comes, or it stops by itself, which raises."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(ExitCode.INTERRUPTED)
        _log.info("replica %d: stopping", replica.id)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    async with replica:
        # One line for whoever waits until the replica can be reached; the log goes elsewhere.
        admin = f", {replica.admin_url} for you" if replica.admin_url else ""
        place = f"{replica.peer_address} for replicas, {replica.client_address} for clients{admin}"
        # In one piece: where the log goes to the same place, nothing of it comes between the line and its end.
        sys.stdout.write(f"{READY} at {place}\n")
        sys.stdout.flush()
        stopping, ending = asyncio.create_task(stop.wait()), asyncio.create_task(replica.wait())
        await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if ending.done():
            await ending
        else:
            ending.cancel()
