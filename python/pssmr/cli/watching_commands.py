"""Commands that look at replicas, and change nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from pssmr.cli.parameters import Cluster


def status(
    cluster: Cluster,
    key: Annotated[str | None, typer.Option(help="A client's name or key file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each replica.")] = 3.0,
) -> None:
    """Shows how each replica is. Exit code 4 if too few can be reached for a quorum.

    Example: [bold]pssmr status --cluster prod[/bold]
    """
    from pssmr.cli.status import show_status

    raise typer.Exit(show_status(cluster, key=key, as_json=as_json, timeout=timeout))


def top(
    cluster: Cluster,
    key: Annotated[str | None, typer.Option(help="A client's name or key file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON each time.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds from one look to the next.")] = 1.0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Look so often, then end; by default until Ctrl-C.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each replica.")] = 3.0,
) -> None:
    """Shows what all replicas do, again and again: commands a second, latency, lag, how busy they are.

    Exit code 4 if too few could be reached for a quorum at the last look.

    Example: [bold]pssmr top --cluster prod[/bold]
    """
    from pssmr.cli.top import show_top

    raise typer.Exit(show_top(cluster, key=key, as_json=as_json, interval=interval, count=count, timeout=timeout))


def events(
    cluster: Cluster,
    replica_id: Annotated[
        int | None, typer.Option("--id", min=0, help="Of this replica; of all by default.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each replica.")] = 3.0,
) -> None:
    """Prints what has happened: view changes, lost links, full disks, broken rules.

    It asks the replicas at their `admin` addresses, which as a rule answer to their own machine only. Exit code 4 if
    none answers.

    Example: [bold]pssmr events --cluster prod --follow[/bold]
    """
    from pssmr.cli.events import show_events

    raise typer.Exit(show_events(cluster, replica_id=replica_id, follow=follow, as_json=as_json, timeout=timeout))


def doctor(
    cluster: Cluster,
    replica_id: Annotated[
        int | None,
        typer.Option("--id", min=0, help="What this replica needs here; all by default.", show_default=False),
    ] = None,
    application: Annotated[
        str | None, typer.Option("--app", metavar="APP", help="A service that has to be found.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each replica.")] = 3.0,
) -> None:
    """Looks for what is wrong: configuration, keys, ports, names, disks, clocks, versions. Says what to do.

    Changes nothing. Exit code 1 if something is wrong; what is only worth a look is none.

    Example: [bold]pssmr doctor --cluster prod --id 0 --app bank.py:Bank[/bold]
    """
    from pssmr.cli.doctor import examine

    raise typer.Exit(examine(cluster, replica_id=replica_id, application=application, as_json=as_json, timeout=timeout))
