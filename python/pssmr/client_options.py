"""What both kinds of client are told, checked before anything is connected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from pssmr._core import ClientCore
from pssmr.config import ClusterConfig
from pssmr.errors import ConfigError, RequestTooLarge
from pssmr.logs import start_forwarding
from pssmr.membership import Change, Member, Membership
from pssmr.reconfiguration import Statuses, check_safe, for_core, sign
from pssmr.request import Request, check_request_type
from pssmr.service import Command

ClusterSource = ClusterConfig | Mapping[str, Any] | str | PathLike[str]
"""A cluster in any form that `ClusterConfig.load` takes."""

IN_FLIGHT_MAX = 4000
"""The most commands that a client can have in flight: replicas keep replies for no more."""


@dataclass(frozen=True)
class ClientOptions:
    """A client's cluster, key and bounds."""

    cluster: ClusterConfig
    key: str
    timeout: float
    in_flight_max: int
    order_queries: bool = False

    @classmethod
    def load(
        cls,
        cluster: ClusterSource,
        key: str | PathLike[str] | None,
        timeout: float,
        in_flight_max: int,
        *,
        order_queries: bool = False,
    ) -> ClientOptions:
        """Reads and checks them.

        Raises:
            ConfigError: If one of them can't be used.
        """
        check_timeout(timeout)
        if not 1 <= in_flight_max <= IN_FLIGHT_MAX:
            raise ConfigError(f"is {in_flight_max}, expected 1 to {IN_FLIGHT_MAX} commands", field="in_flight_max")
        config = ClusterConfig.load(cluster)
        return cls(config, config.client_key(key), timeout, in_flight_max, order_queries)

    def connect(self, *, for_loop: bool) -> ClientCore:
        """Starts a client whose completions are for an asyncio loop, or for threads that wait."""
        start_forwarding()
        return ClientCore(
            cluster=self.cluster.id,
            fault_model=self.cluster.fault_model,
            epoch=self.cluster.epoch,
            members=[for_core(member) for member in self.cluster.membership.members],
            key=self.key,
            for_loop=for_loop,
            timeout=self.timeout,
            in_flight_max=self.in_flight_max,
            request_bytes_max=self.cluster.settings.request_bytes_max,
            result_bytes_max=self.cluster.settings.result_bytes_max,
        )

    def is_read(self, call: Request[Any]) -> bool:
        """Whether it is sent to be answered without being ordered."""
        return call.readable and not self.order_queries

    def membership(self, core: ClientCore) -> Membership:
        """The newest membership that a client knows."""
        epoch, members = core.membership()
        return Membership(
            epoch=epoch,
            fault_model=self.cluster.fault_model,
            members=tuple(
                Member(id=number, key=key, peers=peers, clients=clients) for number, key, peers, clients in members
            ),
        )

    def signed(
        self,
        membership: Membership,
        change: Change,
        statuses: Statuses,
        administrator_key: str | PathLike[str] | None,
        *,
        force: bool,
    ) -> bytes:
        """A change as the replicas take it.

        Raises:
            ConfigError: If there is no administrator, or not this key.
            ReconfigurationRefused: If it can't be made or, without `force`, if the cluster might stand still.
        """
        key = self.cluster.administrator_key(administrator_key)
        membership.changed(change)
        if not force:
            check_safe(membership, change, statuses, self.cluster.settings.unexecuted_slots_max)
        return sign(self.cluster, membership, change, key)

    def check_request(self, request: Request[Any]) -> None:
        """Refuses what is no request, or one that replicas would not take.

        Raises:
            TypeError: If it is none.
            RequestTooLarge: If it is too large.
        """
        check_request_type(request)
        limit, size = self.cluster.settings.request_bytes_max, len(request.payload)
        if size > limit:
            raise RequestTooLarge(
                f"{request.name}: {size} bytes with its arguments, the limit is {limit}; send less at once, or raise "
                "request_bytes_max in the cluster's settings"
            )


def check_command(command: object) -> None:
    """Refuses what is no command of a class.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(command, Command):
        raise TypeError(f"{command!r:.80} is no command: give the one of the service class, such as Bank.transfer")


def check_timeout(timeout: float) -> None:
    """Refuses a time-out that is none.

    Raises:
        ConfigError: If it is not above 0.
    """
    if not timeout > 0:
        raise ConfigError(f"is {timeout}, expected seconds above 0", field="timeout")


def status_of(data: bytes) -> dict[str, Any]:
    """What a replica said of itself."""
    status: dict[str, Any] = json.loads(data)
    return status
