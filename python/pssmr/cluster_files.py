"""Configurations in files: `cluster.toml`, `cluster.py`, and directories with one of them."""

from __future__ import annotations

import dataclasses
import runpy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pssmr import cluster_fields
from pssmr.cluster_tables import build, build_list
from pssmr.config import ClientConfig, ClusterConfig, ReplicaConfig
from pssmr.errors import ConfigError
from pssmr.settings import Settings

TOML_NAME = "cluster.toml"
PYTHON_NAME = "cluster.py"


def read(path: Path) -> ClusterConfig:
    """Reads a TOML file, a Python file, or the `cluster.toml` or `cluster.py` of a directory.

    Raises:
        ConfigError: If there is none, or one that can't be used. It names the file.
    """
    file = find(path)
    try:
        config = _read_python(file) if file.suffix == ".py" else _read_toml(file)
    except ConfigError as error:
        raise error.within(source=error.source or str(file)) from error.__cause__
    folder = file.parent
    return dataclasses.replace(config, keys=folder / (config.keys or "keys"), data=folder / (config.data or "data"))


def find(path: Path) -> Path:
    """The file of a configuration: `path` itself, or the one in this directory.

    Raises:
        ConfigError: If there is none, or more than one.
    """
    if path.is_dir():
        found = [path / name for name in (TOML_NAME, PYTHON_NAME) if (path / name).is_file()]
        if len(found) == 2:
            raise ConfigError(
                f"this directory holds both {TOML_NAME} and {PYTHON_NAME}",
                source=str(path),
                remedy="give the path of the one that is meant",
            )
        if not found:
            raise ConfigError(
                f"this directory holds no {TOML_NAME} and no {PYTHON_NAME}",
                source=str(path),
                remedy=f"`pssmr init {path}` makes one",
            )
        return found[0]
    if not path.exists():
        raise ConfigError(
            "there is no such file or directory",
            source=str(path),
            remedy="give the directory or file that `pssmr init` made",
        )
    if path.suffix not in (".toml", ".py"):
        raise ConfigError(
            "is neither a .toml nor a .py file", source=str(path), remedy=f"a configuration is called {TOML_NAME}"
        )
    return path


def _read_toml(file: Path) -> ClusterConfig:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", remedy="check the file's permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", remedy="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}", remedy="mend it at that place") from error
    return from_mapping(document, file.parent)


def _read_python(file: Path) -> ClusterConfig:
    try:
        names = runpy.run_path(str(file))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"raised {type(error).__name__}: {error}", remedy="run it with python to see where"
        ) from error
    remedy = "assign a pssmr.ClusterConfig to `cluster`, or let a function `cluster()` return one"
    if "cluster" not in names:
        raise ConfigError("has nothing called `cluster`", remedy=remedy)
    cluster = names["cluster"]
    if callable(cluster):
        try:
            cluster = cluster()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"cluster() raised {type(error).__name__}: {error}", remedy=remedy) from error
    if not isinstance(cluster, ClusterConfig):
        raise ConfigError(f"`cluster` is {cluster_fields.shown(cluster)}, not a ClusterConfig", remedy=remedy)
    return cluster


def from_mapping(document: Mapping[str, Any], folder: Path | None = None) -> ClusterConfig:
    """The configuration that a mapping of the shape of a `cluster.toml` says.

    Args:
        document: The mapping.
        folder: Where the file is, if there is one: a plan is looked for there.

    Raises:
        ConfigError: If it can't be used.
    """
    values = dict(document)
    for name, kind in (("replicas", ReplicaConfig), ("clients", ClientConfig)):
        if name in values:
            values[name] = build_list(kind, values[name], name)
    if "settings" in values:
        values["settings"] = build(Settings, values["settings"], "settings")
    plan = values.get("plan")
    is_early = isinstance(values.get("settings"), Settings) and values["settings"].scheduler == "early"
    if plan is None and is_early and folder is not None and (folder / "plan.toml").is_file():
        plan = "plan.toml"
    if plan is not None:
        from pssmr.early_plan_files import plan_of, read_plan

        is_path = isinstance(plan, str)
        values["plan"] = read_plan((folder or Path()) / plan) if is_path else plan_of(plan, "plan")
    return build(ClusterConfig, values, "")


def render(config: ClusterConfig) -> str:
    """The configuration as the text of a `cluster.toml`, with what every setting means.

    Settings that have their default are commented out.
    """
    lines = [
        "# A pssmr cluster. Every replica and every client has the same copy of this file; private keys are not in it.",
        "",
        f'name = "{config.name}"',
        "# Drawn at random when the cluster was made. Nothing of one cluster is valid in another.",
        f'id = "{config.id}"',
        '# What a faulty replica may do: "bft", anything at all (3f + 1 replicas survive f of them);',
        '# "cft", stop (2f + 1 replicas survive f).',
        f'fault_model = "{config.fault_model}"',
        "# How often the membership has changed since the cluster was made: `pssmr reconfigure` writes it.",
        f"epoch = {config.epoch}",
    ]
    if config.administrator:
        lines += [
            "# The public key of whoever may add, remove and replace replicas. Its private half,",
            "# administrator.pem, belongs on no replica: keep it where only that person has it, and a copy elsewhere.",
            f'administrator = "{config.administrator}"',
        ]
    lines += [
        "",
        "# The replicas, the oldest first. Ids are 0 to 63, each once, in any order.",
        "# `peers` is where the other replicas reach it, `clients` where clients do.",
        "# `listen_peers` and `listen_clients` are where it listens, if that is another address (containers, NAT).",
        "# `admin` is where it serves status, metrics and a dashboard over HTTP; without it, it does not.",
    ]
    for replica in config.replicas:
        lines += [*replica_lines(replica), ""]
    lines.append("# Whoever may send commands: a name, and the public key of NAME.pem in the directory `keys`.")
    for client in config.clients:
        lines += ["[[clients]]", f'name = "{client.name}"', f'key = "{client.key}"', ""]
    lines += ["# Those marked (agreed) must be the same at every replica.", "[settings]"]
    defaults = Settings()
    for each in dataclasses.fields(Settings):
        value, default = getattr(config.settings, each.name), getattr(defaults, each.name)
        text = f'"{value}"' if isinstance(value, str) else str(value)
        mark = "# " if value == default else ""
        lines.append(f"{mark}{each.name} = {text}  # {_meaning(each)}")
    return "\n".join(lines) + "\n"


def replica_lines(replica: ReplicaConfig) -> list[str]:
    """A replica's table in a `cluster.toml`."""
    lines = ["[[replicas]]", f"id = {replica.id}", f'key = "{replica.key}"']
    for name in ("peers", "clients", "listen_peers", "listen_clients", "admin"):
        if getattr(replica, name):
            lines.append(f'{name} = "{getattr(replica, name)}"')
    return lines


def _meaning(setting: dataclasses.Field[Any]) -> str:
    if "bounds" not in setting.metadata:
        return str(setting.metadata["meaning"])
    bounds = setting.metadata["bounds"]
    unit, agreed = (f" {bounds.unit}" if bounds.unit else ""), (" (agreed)" if bounds.agreed else "")
    return f"{bounds.meaning}; {bounds.low} to {bounds.high}{unit}{agreed}"
