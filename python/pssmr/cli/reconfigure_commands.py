"""Commands that add, remove and replace replicas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pssmr.cli import long_help
from pssmr.cli.output import Options

app = typer.Typer(
    help="Adds, removes and replaces replicas while the cluster runs. Needs the administrator's key.\n\n"
    "One replica at a time: the next change waits until the new one has the state, if a quorum needs it. Other replicas"
    " and clients learn of it by themselves; cluster.toml is written anew. If a command was interrupted, run it again.",
    no_args_is_help=True,
)

Cluster = Annotated[
    Path,
    typer.Argument(metavar="CLUSTER", help="The cluster's directory, cluster.toml or cluster.py.", show_default=False),
]
Peers = Annotated[
    str, typer.Option("--peers", metavar="HOST:PORT", help="Where the others reach the new one.", show_default=False)
]
Clients = Annotated[
    str, typer.Option("--clients", metavar="HOST:PORT", help="Where clients reach the new one.", show_default=False)
]
NewId = Annotated[
    int | None,
    typer.Option("--id", min=0, max=63, help="The new one's id; by default one that is free.", show_default=False),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="HEX",
        help="The new one's public key; by default keys/replica-ID.pem is made.",
        show_default=False,
    ),
]
ListenPeers = Annotated[
    str,
    typer.Option("--listen-peers", metavar="HOST:PORT", help="Where it listens, if not there.", show_default=False),
]
ListenClients = Annotated[
    str,
    typer.Option("--listen-clients", metavar="HOST:PORT", help="Where it listens, if not there.", show_default=False),
]
Admin = Annotated[
    str,
    typer.Option("--admin", metavar="HOST:PORT", help="Where it serves HTTP; nowhere by default.", show_default=False),
]
AdministratorKey = Annotated[
    Path | None,
    typer.Option(
        "--administrator-key", metavar="FILE", help="keys/administrator.pem beside cluster.toml.", show_default=False
    ),
]
ClientKey = Annotated[
    str | None,
    typer.Option("--client-key", help="A client's name or key file; the first whose key is there.", show_default=False),
]
Timeout = Annotated[float, typer.Option(min=0.001, help="Seconds until the replicas have to have made the change.")]
Force = Annotated[
    bool, typer.Option("--force", help="Even if commands would wait until the new one has the state, or for ever.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Sign = Annotated[
    bool,
    typer.Option(
        "--sign",
        help="Only print the change, signed for the epoch in cluster.toml, for /actions/reconfigure of a replica's"
        " admin service. Asks no replica, so nothing says whether commands would wait.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add(
    context: typer.Context,
    cluster: Cluster,
    peers: Peers,
    clients: Clients,
    new_id: NewId = None,
    key: Key = None,
    listen_peers: ListenPeers = "",
    listen_clients: ListenClients = "",
    admin: Admin = "",
    administrator_key: AdministratorKey = None,
    client_key: ClientKey = None,
    timeout: Timeout = 30.0,
    force: Force = False,
    yes: Yes = False,
    sign: Sign = False,
    as_json: Json = False,
) -> None:
    """Adds a replica. It is started afterwards, and gets the state from the others.

    Example: [bold]pssmr reconfigure add prod --peers node-4.example:7100 --clients node-4.example:7101[/bold]
    """
    from pssmr.cli.reconfigure import Newcomer, Wanted, reconfigure

    options: Options = context.obj
    options.as_json = as_json
    newcomer = Newcomer(
        peers=peers,
        clients=clients,
        id=new_id,
        key=key,
        listen_peers=listen_peers,
        listen_clients=listen_clients,
        admin=admin,
    )
    reconfigure(
        cluster,
        Wanted(goes=None, comes=newcomer),
        administrator_key=administrator_key,
        client_key=client_key,
        timeout=timeout,
        force=force,
        ask=not yes,
        sign_only=sign,
        as_json=as_json,
    )


def remove(
    context: typer.Context,
    cluster: Cluster,
    old_id: Annotated[int, typer.Argument(metavar="ID", min=0, max=63, help="Who goes.", show_default=False)],
    administrator_key: AdministratorKey = None,
    client_key: ClientKey = None,
    timeout: Timeout = 30.0,
    force: Force = False,
    yes: Yes = False,
    sign: Sign = False,
    as_json: Json = False,
) -> None:
    """Removes a replica. It may run or be gone; it is stopped afterwards.

    Example: [bold]pssmr reconfigure remove prod 4[/bold]
    """
    from pssmr.cli.reconfigure import Wanted, reconfigure

    options: Options = context.obj
    options.as_json = as_json
    reconfigure(
        cluster,
        Wanted(goes=old_id, comes=None),
        administrator_key=administrator_key,
        client_key=client_key,
        timeout=timeout,
        force=force,
        ask=not yes,
        sign_only=sign,
        as_json=as_json,
    )


def replace(
    context: typer.Context,
    cluster: Cluster,
    old_id: Annotated[int, typer.Argument(metavar="ID", min=0, max=63, help="Who goes.", show_default=False)],
    peers: Peers,
    clients: Clients,
    new_id: NewId = None,
    key: Key = None,
    listen_peers: ListenPeers = "",
    listen_clients: ListenClients = "",
    admin: Admin = "",
    administrator_key: AdministratorKey = None,
    client_key: ClientKey = None,
    timeout: Timeout = 30.0,
    force: Force = False,
    yes: Yes = False,
    sign: Sign = False,
    as_json: Json = False,
) -> None:
    """Puts a new replica in the place of another: one whose disk is gone, or one that moves. It has a key of its own.

    Example: [bold]pssmr reconfigure replace prod 2 --peers node-4.example:7100 --clients node-4.example:7101[/bold]
    """
    from pssmr.cli.reconfigure import Newcomer, Wanted, reconfigure

    options: Options = context.obj
    options.as_json = as_json
    newcomer = Newcomer(
        peers=peers,
        clients=clients,
        id=new_id,
        key=key,
        listen_peers=listen_peers,
        listen_clients=listen_clients,
        admin=admin,
    )
    reconfigure(
        cluster,
        Wanted(goes=old_id, comes=newcomer),
        administrator_key=administrator_key,
        client_key=client_key,
        timeout=timeout,
        force=force,
        ask=not yes,
        sign_only=sign,
        as_json=as_json,
    )


def sync(
    context: typer.Context,
    cluster: Cluster,
    client_key: ClientKey = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Brings cluster.toml up to the newest membership. Changes nothing at the replicas.

    Example: [bold]pssmr reconfigure sync prod[/bold]
    """
    from pssmr.cli.reconfigure import synchronise

    options: Options = context.obj
    options.as_json = as_json
    synchronise(cluster, client_key=client_key, timeout=timeout, as_json=as_json)


for _each in (add, remove, replace, sync):
    app.command(help=long_help.of(_each))(_each)
