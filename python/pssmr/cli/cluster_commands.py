"""Commands that make a cluster, and change what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pssmr.cli.parameters import Cluster, Model


def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if need be.", show_default=False)],
    replicas: Annotated[int, typer.Option("--replicas", "-n", help="How many replicas.")] = 4,
    fault_model: Model = "bft",
    name: Annotated[str, typer.Option(help="What to call it; the directory's name by default.")] = "",
    host: Annotated[
        str, typer.Option(help="Where replicas are reached. With {id} in it, each has a host of its own.")
    ] = "127.0.0.1",
    base_port: Annotated[
        int,
        typer.Option(
            help="Replica i is reached by replicas at base + 2i, by clients at base + 2i + 1,"
            " and over HTTP, from its own machine only, at base + 2n + i."
        ),
    ] = 7100,
    administrator: Annotated[
        bool,
        typer.Option(
            help="Make keys/administrator.pem, too: who has it can add, remove and replace replicas,"
            " and upgrade the service; without it, nobody can."
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Makes a cluster: keys and a commented cluster.toml. Nothing is overwritten.

    Example: [bold]pssmr init prod -n 4 --host node-{id}.example[/bold]
    """
    from pssmr.cli.clusters import init_cluster

    context.obj.as_json = as_json
    init_cluster(
        directory,
        replicas=replicas,
        fault_model=fault_model,
        name=name,
        host=host,
        base_port=base_port,
        administrator=administrator,
        as_json=as_json,
    )


def keygen(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The private key file.", show_default=False)],
    public: Annotated[bool, typer.Option("--public", help="Make nothing; print the public key of FILE.")] = False,
    token: Annotated[
        bool, typer.Option("--token", help="Make a token instead, for actions on a replica's admin service.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Makes an Ed25519 key for a replica or a client, and prints its public half for cluster.toml.

    Example: [bold]pssmr keygen prod/keys/reports.pem[/bold]
    """
    from pssmr.cli.clusters import make_key

    context.obj.as_json = as_json
    make_key(file, public=public, token=token, as_json=as_json)


def step_down(
    context: typer.Context,
    cluster: Cluster,
    replica_id: Annotated[
        int | None,
        typer.Option("--id", min=0, help="Only if this one leads; whoever leads by default.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until another replica has to lead.")] = 10.0,
) -> None:
    """Has the leader give up its view, so that another replica leads: before its machine is restarted, say.

    Takes milliseconds, and loses no command. It asks the leader at its `admin` address and needs its token, which as a
    rule are both where the leader runs.

    Example: [bold]pssmr step-down --cluster prod[/bold]
    """
    from pssmr.cli.step_down import step_down as have_it_step_down

    context.obj.as_json = as_json
    raise typer.Exit(have_it_step_down(cluster, replica_id=replica_id, as_json=as_json, timeout=timeout))


def checkpoint(
    cluster: Cluster,
    key: Annotated[str | None, typer.Option(help="A client's name or key file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until the snapshots have to be written.")] = 60.0,
) -> None:
    """Has all replicas take a checkpoint, and waits until it is stable: before a backup, or for a quick restart.

    Replicas take checkpoints by themselves, too: see checkpoint_slots and checkpoint_bytes in the settings.

    Example: [bold]pssmr checkpoint --cluster prod[/bold]
    """
    from pssmr.cli.checkpoint import take_checkpoint

    raise typer.Exit(take_checkpoint(cluster, key=key, as_json=as_json, timeout=timeout))
