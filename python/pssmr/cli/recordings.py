"""`pssmr replay`: a recording of one replica's ordering, played back step by step."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from pssmr._core import Recording
from pssmr.cli.output import interruptible, messages, results
from pssmr.errors import ConfigError
from pssmr.exit_codes import ExitCode

Step = dict[str, Any]

_AT_ONCE = 10_000
"""So many steps are played back in one go; then Ctrl-C is heard."""

_BAD_ENDS = ("differs", "damaged", "panicked")

_HELP = """\
Enter     one step
n 100     so many steps; the last one is shown
s 17      on, until slot 17 is decided
v 2       on, until view 2 is entered
e         on, to the end
q         quit"""


@dataclass(frozen=True)
class Selection:
    """Which steps are shown.

    Attributes:
        first: None before this one.
        last: None after this one; `None`: to the end.
        kinds: With inputs or effects of these kinds only, if there are any.
        slot: With inputs or effects about this slot only.
    """

    first: int = 1
    last: int | None = None
    kinds: Sequence[str] = ()
    slot: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was selected."""
        return self == Selection()

    def has(self, step: Step) -> bool:
        """Whether a step is among those that are shown."""
        lines = [*step["inputs"], *step["effects"], step]
        return (not self.kinds or any(line["kind"] in self.kinds for line in lines)) and (
            self.slot is None or any(line["slot"] == self.slot for line in lines)
        )


def replay(file: Path, selection: Selection, *, by_hand: bool, as_json: bool) -> ExitCode:
    """Plays a recording back, and shows what was selected and what it came to.

    Raises:
        ConfigError: If there is none.
    """
    if not file.is_file():
        raise ConfigError(
            f"there is no file {str(file)!r}", field="FILE", remedy="name one that `pssmr replica --record` has made"
        )
    recording = Recording(file)
    if not as_json:
        _print_header(json.loads(recording.header()))
    if by_hand:
        interruptible()
        _by_hand(recording, selection)
    elif selection.is_whole and not as_json:
        for step in _chunks(recording):
            if step["difference"]:
                _print_step(step)
    else:
        for step in _selected(recording, selection):
            if as_json:
                results.print(json.dumps(step, ensure_ascii=False))
            else:
                _print_step(step)
    summary = json.loads(recording.summary())
    if as_json:
        results.print(json.dumps({"summary": summary}, ensure_ascii=False))
    else:
        _print_summary(summary)
    return ExitCode.FAILED if summary["ending"] in _BAD_ENDS else ExitCode.OK


def _forward(recording: Recording, steps: int, *, decided: int | None = None, view: int | None = None) -> Step | None:
    """Plays back; the last step."""
    last = recording.forward(steps, decided=decided, view=view)
    return None if last is None else json.loads(last)


def _chunks(recording: Recording) -> Iterator[Step]:
    while step := _forward(recording, _AT_ONCE):
        yield step


def _until(recording: Recording, *, decided: int | None = None, view: int | None = None) -> Step | None:
    """Plays back until a slot is decided, a view entered, a difference found, or all is played back; the last step."""
    last = None
    while step := _forward(recording, _AT_ONCE, decided=decided, view=view):
        last, state = step, step["state"]
        has_decided = decided is not None and state["decided"] >= decided
        has_entered = view is not None and state["view"] >= view
        if has_decided or has_entered or step["difference"]:
            break
    return last


def _skip_to(recording: Recording, first: int) -> Step | None:
    """Plays back what is before a step; what differs in it."""
    left = first - 1
    while left > 0 and (step := _forward(recording, min(left, _AT_ONCE))):
        left = first - 1 - step["step"]
        if step["difference"]:
            return step
    return None


def _selected(recording: Recording, selection: Selection) -> Iterator[Step]:
    """The steps that were selected, and one that differs, wherever it is."""
    if differs := _skip_to(recording, selection.first):
        yield differs
        return
    number = selection.first
    while (selection.last is None or number <= selection.last) and (step := _forward(recording, 1)):
        number = step["step"] + 1
        if selection.has(step) or step["difference"]:
            yield step


def _by_hand(recording: Recording, selection: Selection) -> None:
    """Plays back as somebody at the terminal says."""
    messages.print("Enter for the next step, ? for help", markup=False)
    _skip_to(recording, selection.first)
    while json.loads(recording.summary())["ending"] is None:
        try:
            word, _, number = input("> ").strip().partition(" ")
        except (EOFError, KeyboardInterrupt):
            return
        step: Step | None = None
        match word, int(number) if number.strip().isdecimal() else None:
            case "", None:
                step = _forward(recording, 1)
            case "n", int(count) if count > 0:
                step = _forward(recording, count)
            case "s", int(slot):
                step = _until(recording, decided=slot)
            case "v", int(view):
                step = _until(recording, view=view)
            case "e", None:
                step = _until(recording)
            case "q", None:
                return
            case _:
                messages.print(_HELP, markup=False)
        if step is not None:
            _print_step(step)


def _print_header(header: dict[str, Any]) -> None:
    replicas = len(header["replicas"])
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header["time"]))
    results.print(
        f"replica {header['replica']} of {replicas} ({header['fault_model']}, durability {header['durability']}), "
        f"cluster {header['cluster']}, from {since} on, recorded by pssmr {header['pssmr']}"
    )


def _print_step(step: Step) -> None:
    clock = "" if step["seconds"] is None else f" {step['seconds']:.6f} s"
    state = step["state"]
    place = f"v{state['view']} decided s{state['decided']} head s{state['head']}"
    results.print(Text.assemble((f"#{step['step']}", "bold"), f"{clock} {step['text']}", (f"  ({place})", "dim")))
    for sign, style, lines in (("<", "cyan", step["inputs"]), (">", "green", step["effects"])):
        for line in lines:
            results.print(Text.assemble(f"    {sign} ", (line["text"], style)))
    if step["changes"]:
        results.print(f"    = {', '.join(step['changes'])}")
    if step["difference"]:
        results.print(Text(f"    ! {step['difference']['text']}", "red"))
    if not step["answered"]:
        results.print("    ? what came of it was not recorded any more")


def _print_summary(summary: dict[str, Any]) -> None:
    slots = f"{summary['slots']} slots decided, up to s{summary['decided']}"
    results.print(
        f"{summary['steps']} steps in {summary['seconds']:.3f} s: {summary['inputs']} inputs, {summary['effects']} "
        f"effects, {slots}, {summary['view_changes']} view changes, at the end view v{summary['view']} of epoch "
        f"e{summary['epoch']}"
    )
    if summary["difference"] is not None:
        results.print(Text(f"step {summary['difference']['step']} differs: {summary['difference']['text']}", "red"))
    elif summary["steps"]:
        results.print("each step had the same effects as when it was recorded")
    if summary["ending"] is not None:
        style = "red" if summary["ending"] in _BAD_ENDS else ""
        results.print(Text(f"end: {summary['text']}", style))
