"""From the tables of a configuration file to the objects that check themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from pssmr import cluster_fields
from pssmr.errors import ConfigError

_T = TypeVar("_T")

_REMEDIES = {
    "fault_model": 'add fault_model = "bft" or "cft"',
    "id": "add it: a replica's number, or a cluster's 32 hexadecimal digits; `pssmr init` draws them",
    "key": "add the public key that `pssmr keygen` prints",
    "peers": 'add peers = "host:port", where the other replicas reach this one',
    "clients": "add clients: an address in a replica, [[clients]] tables in a cluster",
    "replicas": "add one [[replicas]] table for each replica",
    "classes": "add one [[classes]] table for each class; `pssmr plan` computes them",
}


def build(kind: type[_T], values: object, path: str) -> _T:
    """Makes a `kind` of a mapping whose keys must be its fields.

    Raises:
        ConfigError: If they are not, one is missing, or `kind` refuses them. Its field lies under `path`.
    """
    cluster_fields.check_type(values, path, Mapping, "a table")
    assert isinstance(values, Mapping)
    fields = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            close = cluster_fields.nearest(str(name), fields)
            raise ConfigError(
                f"there is no such field{close}", field=str(name), remedy=f"the fields are {', '.join(fields)}"
            ).within(path)
    for name, each in fields.items():
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ConfigError("is missing", field=name, remedy=_REMEDIES.get(name, "add it")).within(path)
    try:
        return kind(**values)
    except ConfigError as error:
        raise error.within(path) from None


def build_list(kind: type[_T], values: object, path: str) -> tuple[_T, ...]:
    """Makes a `kind` of each mapping of a list.

    Raises:
        ConfigError: As `build`, or if it is no list.
    """
    cluster_fields.check_type(values, path, (list, tuple), f"a list of tables: [[{path}]]")
    assert isinstance(values, (list, tuple))
    return tuple(build(kind, item, f"{path}[{i}]") for i, item in enumerate(values))
