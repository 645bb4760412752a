"""Plans for the scheduler `early` in files: `plan.toml`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pssmr import cluster_fields
from pssmr.cluster_tables import build, build_list
from pssmr.early_plan import EarlyPlan, PlannedClass
from pssmr.errors import ConfigError

FILE_NAME = "plan.toml"


def read_plan(file: Path) -> EarlyPlan:
    """Reads a plan.

    Raises:
        ConfigError: If there is none, or one that is not safe. It names the file.
    """
    remedy = "`pssmr plan APP --write FILE` makes one"
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", source=str(file), remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", source=str(file), remedy=remedy) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}", source=str(file), remedy="mend it at that place") from error
    try:
        return plan_of(document, "")
    except ConfigError as error:
        raise error.within(source=str(file)) from None


def plan_of(document: object, path: str) -> EarlyPlan:
    """The plan that a mapping of the shape of a `plan.toml` says; in errors, its fields lie under `path`.

    Raises:
        ConfigError: If it can't be used.
    """
    cluster_fields.check_type(document, path, Mapping, "a table")
    assert isinstance(document, Mapping)
    values: dict[str, Any] = dict(document)
    if "classes" in values:
        values["classes"] = build_list(PlannedClass, values["classes"], f"{path}.classes" if path else "classes")
    return build(EarlyPlan, values, path)


def render_plan(plan: EarlyPlan, notes: Sequence[str] = ()) -> str:
    """The plan as the text of a `plan.toml`. `notes` are lines of comment that come first."""
    lines = [
        *(f"# {note}" if note else "#" for note in notes),
        '# Used with scheduler = "early" in [settings] of the cluster.toml beside it. Replicas need not agree on it.',
        f"lanes = {plan.lanes}",
    ]
    if plan.tables:
        lines += ["# The service's tables, in its order.", f"tables = {json.dumps(plan.tables)}"]
    else:
        lines += ["# Keys are divided by their hashes.", f"key_partitions = {plan.key_partitions}"]
    lines += [
        "",
        "# A command belongs to the first class that has all that it touches; one of no class goes to all lanes.",
    ]
    for each in plan.classes:
        lines += [
            "[[classes]]",
            f"name = {json.dumps(each.name)}",
            f"touches = {json.dumps(each.touches)}",
            f"lanes = {json.dumps(each.lanes)}",
            f"synchronised = {json.dumps(each.synchronised)}",
            "",
        ]
    return "\n".join(lines)
