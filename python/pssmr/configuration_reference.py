"""The reference of all that a configuration can say, from the classes that check it: `docs/configuration.md`.

python -m pssmr.configuration_reference > docs/configuration.md
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap

from pssmr.config import ClientConfig, ClusterConfig, ReplicaConfig
from pssmr.early_plan import EarlyPlan, PlannedClass
from pssmr.settings import Bounds, Settings

WHEN_TO_CHANGE = {
    "durability": "`memory` for what can be made again; `async` where a power cut never takes more than f machines",
    "window": "raise it where replicas are far apart: a slot takes a few round trips, and so many overlap",
    "batch_requests_max": "lower it if single batches make handlers' latency uneven",
    "batch_bytes_max": "raise it for large commands; with slow networks, lower it",
    "request_bytes_max": "raise it if clients get `RequestTooLarge`; better, send less at once",
    "result_bytes_max": "raise it if queries return more",
    "request_timeout_ms": "above the worst round trip between replicas with its disk sync; lower: a dead leader costs"
    " less; higher: a slow one is not replaced",
    "request_timeout_max_ms": "lower it if replicas should look for a leader more eagerly after a long loss of network",
    "heartbeat_interval_ms": "raise it for many idle clusters on one machine",
    "retransmit_interval_ms": "above the round trip between replicas",
    "clock_skew_max_ms": "lower it where clocks are kept together and time matters, as for leases: a lying leader can"
    " be ahead by so much",
    "sessions_per_client_max": "raise it if more client objects than that share a key: the oldest are forgotten",
    "pending_requests_max": "raise it for bursts; lower it if clients should get `Busy` sooner instead of waiting",
    "pending_bytes_max": "as memory allows",
    "unexecuted_slots_max": "lower it if handlers are slow and a replica that lags should slow the others sooner",
    "checkpoint_slots": "lower it for quicker restarts; higher for less writing",
    "checkpoint_bytes": "lower it for smaller logs and quicker restarts; higher for less writing",
    "first_service_version": "raise it before the first start of a cluster whose code has later versions; afterwards"
    " only `pssmr upgrade` counts",
    "transfer_bytes_per_second": "lower it where sending a snapshot takes bandwidth that commands need",
    "retained_slots_max": "raise it if replicas that were away shortly are given snapshots; costs memory",
    "retained_bytes_max": "the same, in bytes",
    "scheduler": "`early` if there are few classes of commands, see `pssmr plan`; `sequential` to rule out that"
    " declarations are wrong",
    "workers": "more if handlers release the interpreter (numpy, files), or it has no lock; else it gains little",
    "workers_min": "what is busy again at once after a pause",
    "workers_max": "set it if handlers wait for something, files or other services, and the load comes and goes",
}
"""When to change each setting. Ends in no full stop."""


def attribute_docs(owner: type) -> dict[str, str]:
    """What the strings below a class's fields say of them, each as one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            assert isinstance(text.value, ast.Constant)
            docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def render() -> str:
    """The page."""
    return "\n".join(
        [
            _HEAD,
            "## The cluster\n",
            *_fields(ClusterConfig),
            "\n## Each replica: `[[replicas]]`\n",
            *_fields(ReplicaConfig),
            "\n## Each client: `[[clients]]`\n",
            *_fields(ClientConfig),
            "\n## How it runs: `[settings]`\n",
            _SETTINGS,
            *_settings(),
            "\n## A plan: `plan.toml`, or `[plan]`\n",
            "For the scheduler `early`. `pssmr plan` computes it; see [Parallel execution](execution.md).\n",
            *_fields(EarlyPlan),
            "\nEach class, `[[classes]]`:\n",
            *_fields(PlannedClass),
            "",
        ]
    )


_HEAD = """# Configuration

<!-- Made by `make reference` from the classes that check a configuration. -->

A cluster is described by a `cluster.toml`, by a `cluster.py` that has a `ClusterConfig` (or a function that returns
one) under the name `cluster`, or by the Python object. `pssmr init DIR` writes a file with keys of its own, and with
every setting, its default and its meaning as a comment; `config/cluster.toml` is an example for four machines. Every
replica and every client has the same copy: nothing in it is secret. Commands that take `--cluster` take the environment
variable `PSSMR_CLUSTER` instead.

A configuration that can't be used is refused before anything starts, with the field, its value, what was expected, and
what to do:

```
pssmr: error: prod/cluster.toml: settings.windows: there is no such field, did you mean 'window'?; the fields are ...
```

`pssmr doctor --cluster DIR` looks at what no file can show: whether keys, ports, disks, clocks and the other replicas
fit it.
"""

_SETTINGS = """Those that are *agreed* have to be the same at all replicas; the others are each replica's own. All
take effect when a replica starts; the number of workers and the log level can be changed while it runs, see
[Watching and steering](admin.md).
"""


def _fields(owner: type) -> list[str]:
    """The table of a class's fields."""
    docs = attribute_docs(owner)
    lines = ["| field | default | |", "|---|---|---|"]
    for each in dataclasses.fields(owner):
        doc = docs[each.name]
        lines.append(f"| `{each.name}` | {_default(each)} | {_cell(doc)} |")
    return lines


def _settings() -> list[str]:
    lines = ["| setting | default | range | what it is | when to change it |", "|---|---|---|---|---|"]
    for each in dataclasses.fields(Settings):
        bounds: Bounds | None = each.metadata.get("bounds")
        if bounds is None:
            span, meaning = " ".join(f"`{choice}`" for choice in each.metadata["choices"]), each.metadata["meaning"]
        else:
            span, meaning = f"{bounds.low:,} to {bounds.high:,} {bounds.unit}".rstrip(), bounds.meaning
        agreed = bounds.agreed if bounds else "(agreed)" in meaning
        meaning = meaning.replace(" (agreed)", "") + (" (*agreed*)" if agreed else "")
        cells = (f"`{each.name}`", _default(each), span, _cell(meaning), _cell(WHEN_TO_CHANGE[each.name]))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _default(field: dataclasses.Field[object]) -> str:
    if field.name == "workers":
        return "one a core, at least 2"
    if field.default_factory is not dataclasses.MISSING:
        return "see below"
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default in ("", None, ()):
        return "none"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"{field.default:,}" if isinstance(field.default, int) else f'`"{field.default}"`'


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render())
