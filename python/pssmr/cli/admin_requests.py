"""What commands ask of replicas' admin services."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Any

from pssmr.cluster_fields import split_address
from pssmr.config import ClusterConfig, ReplicaConfig
from pssmr.errors import ConfigError

UNREACHED = (OSError, ValueError, http.client.HTTPException)
"""What asking raises if nobody answers, or not as an admin service does."""


def those_with_admin(config: ClusterConfig, replica_id: int | None) -> list[ReplicaConfig]:
    """The replica with this id, or all, as far as they serve HTTP.

    Raises:
        ConfigError: If none does.
    """
    chosen = config.replicas if replica_id is None else (config.replica(replica_id),)
    asked = [each for each in chosen if each.admin]
    if not asked:
        raise ConfigError(
            "no such replica serves HTTP",
            field="replicas.admin",
            remedy='add admin = "127.0.0.1:7108", and start it again',
        )
    return asked


def connection(replica: ReplicaConfig, timeout: float) -> http.client.HTTPConnection:
    """A connection to a replica's admin service, not yet made."""
    host, port = split_address(replica.admin)
    return http.client.HTTPConnection(host, int(port), timeout=timeout)


def ask(replica: ReplicaConfig, path: str, timeout: float) -> Any:
    """What a replica answers, from JSON.

    Raises:
        OSError, ValueError, HTTPException: If it does not answer, or not as it should.
    """
    with closing(connection(replica, timeout)) as asked:
        asked.request("GET", path, headers={"Accept": "application/json"})
        answer = asked.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"it answers with status {answer.status}")
        return json.loads(body)


def act(replica: ReplicaConfig, path: str, token: str, timeout: float) -> tuple[int, dict[str, Any]]:
    """Has a replica do something; the status of its answer, and what is in it.

    Raises:
        OSError, ValueError, HTTPException: If it does not answer, or not as it should.
    """
    with closing(connection(replica, timeout)) as asked:
        asked.request("POST", path, headers={"Authorization": f"Bearer {token}"})
        answer = asked.getresponse()
        said = json.loads(answer.read())
        if not isinstance(said, dict):
            raise ValueError("it does not answer as an admin service does")
        return answer.status, said
