"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Application = Annotated[
    str, typer.Argument(metavar="APP", help="The service: `module:Class` or `path/file.py:Class`.", show_default=False)
]
Cluster = Annotated[
    Path,
    typer.Option(
        "--cluster",
        "-c",
        envvar="PSSMR_CLUSTER",
        help="The cluster's directory, cluster.toml or cluster.py.",
        show_default=False,
    ),
]
Model = Annotated[
    Literal["bft", "cft"],
    typer.Option("--fault-model", help="What a faulty replica may do: anything at all (bft), or stop (cft)."),
]
