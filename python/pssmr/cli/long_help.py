"""What `--help` says of commands that take more than a line to explain: paragraphs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def of(command: Callable[..., Any]) -> str:
    """What the command's docstring says: a line for each paragraph, which is broken where the terminal ends."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (inspect.getdoc(command) or "").split("\n\n"))


CHECK = (
    "Checks that replicas of a service would agree, whatever their workers do.",
    "Replicas execute the same commands, and have to come to the same replies and the same state: with any number of "
    "workers, at any time, in any process. This draws random commands and executes each run of them in the agreed "
    "order, again, in other orders that the declarations allow, with a restart from a snapshot in between, and in "
    "processes with other hash seeds and another clock. It finds access and conflicts that are not declared, handlers "
    "that never end, or depend on time, chance, identities, hashes, global variables or the order of a set, and state "
    "that restore loses; and it shows the shortest run of commands that it can make of it. Exit code 1 if it finds "
    "something.",
    "What random commands never do is not checked: look at how many were executed, refused, and failed, and give "
    "--commands if their arguments have to be special ones. In tests, the same is pssmr.testing.check(Bank).",
    "Example: [bold]pssmr check bank.py:Bank --runs 1000[/bold]",
)

REPLAY = (
    "Plays back what one replica's ordering was told, and compares what it does with what it did.",
    "Ordering is deterministic: the same messages, requests and times, in the same steps, have the same effects. A "
    "replica that was started with --record has written all of that to a file. This plays it through the same code, "
    "without the replica's key, and says at the first step that differs how it does: then the replica ran another "
    "version, or on broken hardware, or the file was changed. Without options it prints a summary. With --from, --to, "
    "--kind, --slot or --step it shows steps: < what came in, > what the replica then did, = what changed at it.",
    "Exit code 0 if all that is there had the same effects, also if the process was killed in the middle; 1 if a step "
    "differs, the file is damaged, or the replica's own code fails at the end as it did then; 3 if the file is no "
    "recording.",
    "The file has the requests of clients in the clear, and no private key.",
    "Example: [bold]pssmr replay replica-0.recording --slot 1742[/bold]",
    "Example: [bold]pssmr replay replica-0.recording --from 1000 --step[/bold]",
)

PLAN = (
    "Plans which lanes run which commands, for the scheduler early.",
    "Early scheduling decides before anything runs. Commands are in classes by what they touch, of tables or of parts "
    "of the keys. Each class has lanes, in which commands run one after the other; classes that don't conflict have "
    "different lanes, and run at once. A command takes one of the lanes of its class, and others of the class run "
    "beside it; or it takes all of them at once, and nothing that conflicts runs meanwhile. The plan gives the busiest "
    "lane the least to do. It is as good as the weights: count the commands of a typical hour where you can.",
    "To use it, --write it beside cluster.toml, and choose the scheduler early there, in \\[settings]. A plan that is "
    "not safe is refused at the start, with the rule that is broken (R1 to R5) and by which classes. The default "
    "scheduler, keyed, needs no plan, and is often as fast: measure both.",
    "Example: [bold]pssmr plan bank.py:Bank --lanes 4 --weights weights.toml --picture plan.svg --write prod[/bold]",
)
