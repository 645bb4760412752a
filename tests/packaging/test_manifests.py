"""The files under `config/` are what their readers take, and agree with what pssmr does."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from pssmr.cli.application import app
from pssmr.config import ClusterConfig
from pssmr.exit_codes import ExitCode
from tests.cli.conftest import Pssmr, pssmr

__all__ = ["pssmr"]

CONFIG = Path(__file__).parents[2] / "config"


def check_replica_command(words: list[str]) -> None:
    """Checks that `pssmr replica` takes these."""
    assert words[:1] == ["replica"]
    command = typer.main.get_command(app).commands["replica"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known
    assert {"--cluster", "--id"} <= set(words)


# systemd


@pytest.fixture
def unit() -> dict[str, list[str]]:
    """The directives of the unit, by name."""
    found: dict[str, list[str]] = {}
    for line in (CONFIG / "systemd" / "pssmr@.service").read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_runs_a_replica_and_knows_its_exit_codes(unit: dict[str, list[str]]) -> None:
    words = shlex.split(unit["ExecStart"][0])
    assert words[0].endswith("/pssmr")
    check_replica_command(words[1:])
    assert words[words.index("--id") + 1] == "%i"
    codes = {int(code) for code in unit["RestartPreventExitStatus"][0].split()}
    assert codes == {ExitCode.USAGE, ExitCode.CONFIG}, "what starting again does not mend"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (CONFIG / "systemd" / "pssmr@.service").read_text()
    # What this machine need not have.
    text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text)
    text = re.sub(r"(?m)^(User|Group)=.*", r"\1=root", text)
    file = tmp_path / "pssmr@0.service"
    file.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "pssmr@0.service" in line]
    assert not said


# Kubernetes


@pytest.fixture
def objects() -> dict[str, dict[str, Any]]:
    """The objects of the manifest, by kind and name."""
    documents = yaml.safe_load_all((CONFIG / "kubernetes" / "pssmr.yaml").read_text())
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in documents}


def test_every_object_says_what_it_is(objects: dict[str, dict[str, Any]]) -> None:
    assert list(objects) == [
        "Service/pssmr", "ConfigMap/pssmr-probe", "PodDisruptionBudget/pssmr", "StatefulSet/pssmr",
    ]  # fmt: skip
    assert all("/" in each["apiVersion"] or each["apiVersion"] == "v1" for each in objects.values())


def test_the_pods_are_the_replicas_of_a_cluster(
    objects: dict[str, dict[str, Any]], pssmr: Pssmr, tmp_path: Path
) -> None:
    spec = objects["StatefulSet/pssmr"]["spec"]
    assert pssmr("init", "made", "-n", spec["replicas"], "--host", "pssmr-{id}.pssmr").returncode == 0
    config = ClusterConfig.load(tmp_path / "made")
    assert objects["PodDisruptionBudget/pssmr"]["spec"]["maxUnavailable"] == config.faults
    pod = spec["template"]["spec"]
    items = next(each for each in pod["volumes"] if each["name"] == "secret")["secret"]["items"]
    wanted = {(f"{name}", f"pssmr-{i}/{name}") for i in range(4) for name in (f"replica-{i}.pem", f"admin-{i}.token")}
    assert {(item["key"], item["path"]) for item in items} == wanted
    assert {item["key"] for item in items} <= {file.name for file in (tmp_path / "made" / "keys").iterdir()}
    assert {each.clients for each in config.replicas} >= {"pssmr-3.pssmr:7107"}
    assert config.replicas[2].admin == "127.0.0.1:7110", "where the probe looks: 7108 and the replica's number"


def test_the_container_runs_a_replica_that_nothing_can_be_written_to_but_data(
    objects: dict[str, dict[str, Any]],
) -> None:
    pod = objects["StatefulSet/pssmr"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    shell = shlex.split(container["command"][2])
    assert shell[:2] == ["exec", "pssmr"], "so that SIGTERM reaches it"
    check_replica_command(shell[2:])
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    assert [name for name, each in mounts.items() if not each.get("readOnly")] == ["data"]
    names = {each["name"] for each in pod["volumes"]} | {"data"}
    for each in [container, *pod["initContainers"]]:
        assert each["securityContext"]["readOnlyRootFilesystem"]
        assert {mount["name"] for mount in each["volumeMounts"]} <= names
    probe = objects["ConfigMap/pssmr-probe"]["data"]["probe.py"]
    compile(probe, "probe.py", "exec")
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[kind]["exec"]["command"][:2] == ["python", "/probe/probe.py"]


def test_what_the_page_does_to_a_new_cluster_makes_it_listen_everywhere_and_keep_data_where_it_may(
    pssmr: Pssmr, tmp_path: Path
) -> None:
    assert pssmr("init", "prod", "--host", "node-{id}.example").returncode == 0
    page = (CONFIG.parent / "docs" / "deploying.md").read_text()
    edits = list(dict.fromkeys(line for line in page.splitlines() if line.startswith("sed ")))
    assert len(edits) == 2
    for edit in edits:
        subprocess.run(shlex.split(edit), cwd=tmp_path, check=True)
    config = ClusterConfig.load(tmp_path / "prod")
    assert config.data == Path("/var/lib/pssmr")
    assert config.replicas[1].peers == "node-1.example:7102"
    assert config.replicas[1].peers_listener == "0.0.0.0:7102"
    assert config.replicas[1].clients_listener == "0.0.0.0:7103"


# Containers


def test_the_container_file_has_known_instructions_and_ends_as_nobody_special() -> None:
    text = (CONFIG / "container" / "Containerfile").read_text()
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text))
    instructions = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    known = {"FROM", "RUN", "COPY", "ENV", "ARG", "USER", "WORKDIR", "ENTRYPOINT", "CMD", "STOPSIGNAL"}
    assert {name for name, _ in instructions} <= known
    stages = {value.split()[-1] for name, value in instructions if name == "FROM" and " AS " in value}
    used = set(re.findall(r"from=(\w+)", joined)) | set(re.findall(r"--from=(\w+)", joined))
    assert used == stages
    last = instructions[len(instructions) - 1 - [name for name, _ in instructions][::-1].index("FROM") :]
    assert ["USER", "10001"] in [each[:2] for each in last]
    assert not any("cargo" in value for _, value in last), "what runs has no Rust"


def test_nothing_under_config_is_unknown_here() -> None:
    files = {str(file.relative_to(CONFIG)) for file in CONFIG.rglob("*") if file.is_file()}
    assert files == {
        "cluster.toml",
        "container/Containerfile",
        "container/Containerfile.dockerignore",
        "kubernetes/pssmr.yaml",
        "systemd/pssmr@.service",
    }
