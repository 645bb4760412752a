"""Commands that take backups and bring a cluster back from one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pssmr.cli.output import messages, results
from pssmr.cli.parameters import Cluster

Place = Annotated[
    str,
    typer.Argument(metavar="PLACE", help="A directory, or a URL such as s3://bucket/prod.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def backup(
    context: typer.Context,
    place: Place,
    cluster: Cluster,
    replica: Annotated[
        int, typer.Option("--id", min=0, max=63, help="A replica whose data is on this machine.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    r"""Copies a replica's newest snapshot and its proof to PLACE. One replica's is enough for all; it may run.

    Run pssmr checkpoint before, for what happened until now. URLs need pip install 'pssmr\[backup]'.

    Example: [bold]pssmr backup s3://backups/prod --cluster prod --id 0[/bold]
    """
    from pssmr.backup_stores import open_store
    from pssmr.backups import take_backup
    from pssmr.config import ClusterConfig

    context.obj.as_json = as_json
    made = take_backup(ClusterConfig.load(cluster), replica, open_store(place))
    if as_json:
        results.print(json.dumps(asdict(made), indent=2))
    else:
        results.print(f"slot {made.slot:,}, {made.bytes:,} bytes: verified, and in {place}")


def backups(context: typer.Context, place: Place, as_json: Json = False) -> None:
    """Lists the backups in PLACE, oldest first.

    Example: [bold]pssmr backups s3://backups/prod[/bold]
    """
    from pssmr.backup_stores import open_store
    from pssmr.backups import list_backups

    context.obj.as_json = as_json
    found = list_backups(open_store(place))
    if as_json:
        results.print(json.dumps([asdict(each) for each in found], indent=2))
        return
    if not found:
        messages.print(f"there are no backups in {place}", markup=False)
    for each in found:
        results.print(f"slot {each.slot:,}, {each.bytes:,} bytes, epoch {each.epoch}, made {each.made}")


def restore(
    context: typer.Context,
    place: Place,
    cluster: Cluster,
    replicas: Annotated[
        list[int], typer.Option("--id", min=0, max=63, help="The replicas of this machine.", show_default=False)
    ],
    slot: Annotated[int | None, typer.Option(help="Which backup; the newest by default.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Makes the data directories of replicas that go on from a backup. Restore all replicas before you start one.

    What was acknowledged after the backup is gone. Replicas that keep what they had must never meet those.

    Example: [bold]pssmr restore s3://backups/prod --cluster prod --id 0[/bold]
    """
    from pssmr.backup_stores import open_store
    from pssmr.backups import restore_backup
    from pssmr.config import ClusterConfig

    context.obj.as_json = as_json
    config = ClusterConfig.load(cluster)
    restored = restore_backup(config, replicas, open_store(place), slot)
    if as_json:
        results.print(json.dumps(asdict(restored), indent=2))
        return
    ids = ", ".join(map(str, replicas))
    results.print(f"slot {restored.slot:,}, made {restored.made}: verified, and the data of replica {ids}")
    if others := [str(each.id) for each in config.replicas if each.id not in replicas]:
        messages.print(f"Restore replica {', '.join(others)} from the same backup, too, before you start one.")
