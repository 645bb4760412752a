"""Plans for the scheduler `early` in configurations: where they come from, and which are refused, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pssmr
from pssmr.cluster_create import create_cluster
from pssmr.early_plan import EarlyPlan, PlannedClass
from pssmr.early_plan_files import plan_of, read_plan, render_plan

READERS = PlannedClass(name="readers", touches=("accounts.read",), lanes=(0, 1))
WRITERS = PlannedClass(name="writers", touches=("accounts.write", "journal.write"), lanes=(1, 0), synchronised=True)
PLAN = EarlyPlan(lanes=2, tables=("accounts", "journal"), classes=(READERS, WRITERS))
BY_KEY = EarlyPlan(
    lanes=2,
    key_partitions=2,
    classes=(
        PlannedClass(name="left", touches=("0.write",), lanes=(0,)),
        PlannedClass(name="right", touches=("1.write",), lanes=(1,)),
    ),
)


def cluster(directory: Path, **settings: Any) -> Path:
    create_cluster(
        directory,
        replicas=1,
        address=lambda i: (f"127.0.0.1:{7000 + 2 * i}", f"127.0.0.1:{7001 + 2 * i}"),
        settings=pssmr.Settings(**settings),
    )
    return directory


@pytest.mark.parametrize("plan", [PLAN, BY_KEY])
def test_a_plan_is_read_as_it_was_written(tmp_path: Path, plan: EarlyPlan) -> None:
    (tmp_path / "plan.toml").write_text(render_plan(plan, ["Made by hand.", ""]))
    assert read_plan(tmp_path / "plan.toml") == plan


def test_a_plan_beside_the_configuration_is_taken(tmp_path: Path) -> None:
    directory = cluster(tmp_path / "c", scheduler="early")
    assert pssmr.ClusterConfig.load(directory).plan is None
    (directory / "plan.toml").write_text(render_plan(PLAN))
    assert pssmr.ClusterConfig.load(directory).plan == PLAN


def test_lanes_without_workers_are_noted(tmp_path: Path) -> None:
    for workers, noted in [(1, True), (2, False)]:
        directory = cluster(tmp_path / str(workers), scheduler="early", workers=workers)
        (directory / "plan.toml").write_text(render_plan(PLAN))
        notes = pssmr.ClusterConfig.load(directory).notes
        assert any("2 lanes for 1 workers" in note for note in notes) is noted


def test_a_plan_that_another_scheduler_does_not_ask_for_is_left_alone(tmp_path: Path) -> None:
    directory = cluster(tmp_path / "c")
    (directory / "plan.toml").write_text(render_plan(PLAN))
    assert pssmr.ClusterConfig.load(directory).plan is None


def with_plan(directory: Path, line: str) -> Path:
    """A cluster whose configuration has this before everything else."""
    file = cluster(directory, scheduler="early") / "cluster.toml"
    file.write_text(f"{line}\n{file.read_text()}")
    return file


def test_a_plan_can_lie_elsewhere_or_in_the_configuration(tmp_path: Path) -> None:
    file = with_plan(tmp_path / "a", 'plan = "../plans/bank.toml"')
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "bank.toml").write_text(render_plan(BY_KEY))
    assert pssmr.ClusterConfig.load(file).plan == BY_KEY
    file = cluster(tmp_path / "b", scheduler="early") / "cluster.toml"
    section = render_plan(BY_KEY).replace("[[classes]]", "[[plan.classes]]")
    file.write_text(f"{file.read_text()}\n[plan]\n{section}")
    assert pssmr.ClusterConfig.load(file).plan == BY_KEY


def test_a_plan_that_can_not_be_used_is_refused_with_its_file(tmp_path: Path) -> None:
    file = with_plan(tmp_path / "a", 'plan = "other.toml"')
    with pytest.raises(pssmr.ConfigError, match=r"other\.toml: can't be read: No such file.*pssmr plan APP --write"):
        pssmr.ClusterConfig.load(file)
    other = file.parent / "other.toml"
    for text, message in [
        ("lanes =", "other.toml: is not TOML"),
        ("lanes = 2", r"other.toml: classes: is missing; .*`pssmr plan` computes them"),
        ("lanes = 2\nclasses = 5", r"other.toml: classes: is 5 \(int\), but has to be a list of tables"),
        ("lanes = 2\n[[classes]]\nname='x'", r"other.toml: classes\[0\].touches: is missing"),
        ("lanes = 2\nlines = 2\nclasses=[]", r"other.toml: lines: there is no such field, did you mean 'lanes'"),
    ]:
        other.write_text(text)
        with pytest.raises(pssmr.ConfigError, match=message):
            pssmr.ClusterConfig.load(file)
    other.write_bytes(b"\xff")
    with pytest.raises(pssmr.ConfigError, match="is not UTF-8"):
        pssmr.ClusterConfig.load(file)


def test_a_plan_needs_the_scheduler_that_takes_it(tmp_path: Path) -> None:
    file = cluster(tmp_path / "c") / "cluster.toml"
    (file.parent / "plan.toml").write_text(render_plan(PLAN))
    file.write_text(f'plan = "plan.toml"\n{file.read_text()}')
    with pytest.raises(pssmr.ConfigError, match=r"settings.scheduler: is 'keyed', which takes no plan.*= \"early\""):
        pssmr.ClusterConfig.load(file)


def document(**changes: Any) -> dict[str, Any]:
    """A good plan by key, with one thing changed: `classes_0_lanes` is that of the first class."""
    classes: list[dict[str, Any]] = [
        {"name": "a", "touches": ["0.write"], "lanes": [0]},
        {"name": "b", "touches": ["0.read", "1.write"], "lanes": [0, 1], "synchronised": True},
    ]
    whole: dict[str, Any] = {"lanes": 3, "key_partitions": 2, "classes": classes}
    for name, value in changes.items():
        if name.startswith("classes_"):
            _, index, field = name.split("_", 2)
            classes[int(index)][field] = value
        else:
            whole[name] = value
    return whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lanes": 0}, r"lanes: is 0, but has to be 1 to 256 lanes"),
        ({"lanes": "3"}, r"lanes: is '3' \(str\), but has to be a whole number"),
        ({"key_partitions": 0}, r"key_partitions: is 0, but has to be 1 to 1024 partitions"),
        ({"tables": ["t"]}, r"key_partitions: is 2, but the state is divided by table already; leave out"),
        ({"tables": [5]}, r"tables\[0\]: is 5 \(int\), but has to be a str"),
        ({"classes": []}, r"classes: has 0 classes, but a plan has 1 to 1024; compute it with `pssmr plan`"),
        ({"classes_1_name": "a"}, r"classes\[1\].name: is 'a' again; give each class its own name"),
        ({"classes_0_name": 1}, r"classes\[0\].name: is 1 \(int\), but has to be text"),
        ({"classes_0_synchronised": 1}, r"classes\[0\].synchronised: is 1 \(int\), but has to be true or false"),
        ({"classes_0_touches": ["0.wirte"]}, r"touches: has '0.wirte', which ends in no mode, did you mean 'write'"),
        ({"classes_0_touches": ["0"]}, r"touches: has '0', which ends in no mode; write 0.read, .commute or .write"),
        ({"classes_0_touches": ["2.read"]}, r"there is no partition '2'; the partitions of the keys are 0 to 1"),
        ({"classes_0_touches": ["x.read"]}, r"there is no partition 'x'"),
        ({"classes_0_lanes": [3]}, r"classes\[0\].lanes: is 3, but has to be 0 to 2"),
        ({"classes_0_lanes": [True]}, r"classes\[0\].lanes: is True"),
        ({"classes_0_lanes": [1, 1]}, r"classes\[0\].lanes: has lane 1 twice; name each lane once"),
        ({"classes_0_lanes": []}, r"classes\[0\].lanes: R1: class a has no lane; give it a lane from 0 to 2"),
        ({"classes_0_lanes": [0, 1]}, r"classes\[0\].synchronised: R2: .*; write synchronised = true for a, or give"),
        ({"classes_1_synchronised": False, "classes_1_lanes": [1]}, r"R3: .*; write synchronised = true for a or b"),
        ({"classes_0_lanes": [2]}, r"classes\[0\].lanes: R4: class a has lane 2, but class b, .*; give the synchr"),
        (
            {"classes_0_lanes": [2], "classes_0_synchronised": True},
            r"classes\[0\].lanes: R5: .* no lane in common; give a and b a lane in common; `pssmr plan` computes",
        ),
    ],
)
def test_a_plan_that_is_not_safe_is_refused(changes: dict[str, Any], message: str) -> None:
    assert plan_of(document(), "plan").partitions == 2
    with pytest.raises(pssmr.ConfigError, match=message) as caught:
        plan_of(document(**changes), "plan")
    assert caught.value.field.startswith("plan.")
    assert caught.value.remedy


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(pssmr.ConfigError, match=r"there is no table 'acounts', did you mean 'accounts'"):
        EarlyPlan(
            lanes=1, tables=("accounts",), classes=(PlannedClass(name="x", touches=("acounts.read",), lanes=(0,)),)
        )


def test_a_plan_for_other_tables_is_refused() -> None:
    assert PLAN.for_core(["accounts", "journal"])[:3] == ("tables", 2, 2)
    for tables, has in [(["journal", "accounts"], "journal, accounts"), (None, "no declared tables")]:
        with pytest.raises(pssmr.ConfigError, match=f"plan.tables: is for the tables accounts, journal, .* has {has};"):
            PLAN.for_core(tables)
    assert BY_KEY.for_core(None) == (
        "keys",
        2,
        2,
        [("left", [(0, "write")], (0,), False), ("right", [(1, "write")], (1,), False)],
    )


@pytest.mark.parametrize("mode", ["read", "commute"])
def test_readers_run_beside_each_other_and_so_do_what_commutes(mode: str) -> None:
    beside = PlannedClass(name="x", touches=(f"0.{mode}",), lanes=(0, 1))
    assert EarlyPlan(lanes=2, key_partitions=1, classes=(beside,)).classes == (beside,)


def test_modes_of_one_place_are_joined() -> None:
    both = PlannedClass(name="x", touches=("0.read", "0.commute", "1.read"), lanes=(0,))
    plan = EarlyPlan(lanes=1, key_partitions=2, classes=(both,))
    assert plan.touched(both) == {0: "write", 1: "read"}
