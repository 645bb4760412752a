"""`pssmr replay`: what replicas recorded, played back."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pssmr as library
from pssmr.cluster_local import start_temporary
from pssmr.exit_codes import ExitCode
from tests.cli.conftest import Pssmr
from tests.cluster import ledger
from tests.cluster.ledger import Ledger


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What three replicas recorded, of which the first leader, replica 0, was killed under load."""
    directory = tmp_path_factory.mktemp("recordings")
    application = f"{ledger.__file__}:Ledger"
    place, processes = start_temporary(
        application, replicas=3, fault_model="cft", on_line=lambda _replica, _line: None, record=directory
    )
    try:
        with library.Client(processes.cluster, timeout=60) as client:
            # A slot each.
            for number in range(20):
                assert client.call(Ledger.add, number) == 1

            def additions() -> Iterator[library.Request[int]]:
                for number in range(100, 400):
                    if number == 250:
                        processes.process(0).kill()
                    yield Ledger.add.bind(number)

            assert list(client.call_many(additions())) == [1] * 300
    finally:
        processes.stop_all()
        place.close()
    return directory


def recording(directory: Path, replica: int) -> Path:
    """What a replica recorded."""
    return directory / f"replica-{replica}.recording"


def lines(text: str) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in text.splitlines()]


def test_what_replicas_recorded_has_the_same_effects_again(recordings: Path, pssmr: Pssmr) -> None:
    for replica, end in ((0, "the process was killed"), (1, "the replica was stopped"), (2, "the replica was stopped")):
        played = pssmr("replay", recording(recordings, replica))
        assert played.returncode == ExitCode.OK, played.stdout
        assert f"replica {replica} of 3 (cft, durability memory)" in played.stdout
        assert "each step had the same effects as when it was recorded" in played.stdout
        assert end in played.stdout
    summary = lines(pssmr("replay", recording(recordings, 1), "--to", 1, "--json").stdout)[-1]["summary"]
    assert (summary["steps"], summary["ending"]) == (1, None)


def test_steps_are_shown_by_number_kind_and_slot(recordings: Path, pssmr: Pssmr) -> None:
    file = recording(recordings, 1)
    *steps, last = lines(pssmr("replay", file, "--json").stdout)
    summary = last["summary"]
    assert [step["step"] for step in steps] == list(range(1, summary["steps"] + 1))
    assert summary["ending"] == "stopped"
    assert summary["view_changes"] >= 1, "the first leader was killed"
    assert summary["slots"] == steps[-1]["state"]["decided"] > 10
    delivered = [effect["slot"] for step in steps for effect in step["effects"] if effect["kind"] == "deliver"]
    assert delivered == list(range(1, summary["slots"] + 1))

    shown = pssmr("replay", file, "--from", 5, "--to", 7).stdout
    assert re.findall(r"^#(\d+)", shown, re.MULTILINE) == ["5", "6", "7"]
    # A replica that is slow to start hears of several slots at once: which of them it is does not matter.
    step, proposal = next((s, each) for s in steps for each in s["inputs"] if each["kind"] == "propose")
    slot = proposal["slot"]
    about = pssmr("replay", file, "--slot", slot).stdout
    assert f"#{step['step']} " in about
    assert re.search(rf"^    < r0 propose v0 s{slot} on ", about, re.MULTILINE), about
    assert re.search(rf"^    > deliver s{slot} ", about, re.MULTILINE), about
    assert re.search(r"^    = .*decided s\d+ -> s\d+", about, re.MULTILINE), about
    assert all(f"s{slot} " in f"{shown} " for shown in about.split("\n#")[1:]), about
    stops = pssmr("replay", file, "--kind", "stop").stdout
    assert "stop for v1" in stops
    assert "propose" not in stops


def test_steps_are_taken_by_hand(recordings: Path, pssmr: Pssmr, monkeypatch: pytest.MonkeyPatch) -> None:
    file = recording(recordings, 1)
    *steps, _ = lines(pssmr("replay", file, "--json").stdout)
    at_slot = next(step["step"] for step in steps[5:] if step["state"]["decided"] >= 7)
    at_view = next(step["step"] for step in steps[at_slot:] if step["state"]["view"] >= 1)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\nn 3\ns 7\nv 1\nwhat\nq\n"))
    played = pssmr("replay", file, "--step")
    assert played.returncode == ExitCode.OK
    numbers = [int(number) for number in re.findall(r"^(?:> )*#(\d+)", played.stdout, re.MULTILINE)]
    assert numbers == [1, 2, 5, at_slot, at_view]
    assert "until slot 17 is decided" in played.stderr, "what is no command is answered with those that are"


def test_a_recording_that_was_changed_is_noticed(recordings: Path, pssmr: Pssmr, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copy(recording(recordings, 2), changed)
    bytes_of = bytearray(changed.read_bytes())
    bytes_of[len(bytes_of) // 2] ^= 1
    changed.write_bytes(bytes_of)
    played = pssmr("replay", changed)
    assert played.returncode == ExitCode.FAILED
    assert re.search(r"damaged at byte \d+", played.stdout)
    changed.write_text("nothing of the kind")
    refused = pssmr("replay", changed)
    assert refused.returncode == ExitCode.CONFIG
    assert "not a recording" in refused.stderr
    missing = pssmr("replay", tmp_path / "nowhere")
    assert missing.returncode == ExitCode.CONFIG
    assert "there is no file" in missing.stderr
