"""`pssmr init` and `pssmr keygen`."""

from __future__ import annotations

import json
from pathlib import Path

from pssmr.cli.output import messages, results
from pssmr.cluster_create import create_cluster
from pssmr.cluster_fields import check_integer
from pssmr.cluster_keys import generate_key, generate_token, public_key
from pssmr.config import ADMINISTRATOR, ClusterConfig, FaultModel


def init_cluster(
    directory: Path,
    *,
    replicas: int,
    fault_model: FaultModel,
    name: str,
    host: str,
    base_port: int,
    administrator: bool,
    as_json: bool,
) -> None:
    """Makes a cluster, and says what to do next."""
    check_integer(base_port, "--base-port", 1, 65_536 - 3 * max(1, replicas))
    bracketed = f"[{host}]" if ":" in host else host

    def address(i: int) -> tuple[str, str]:
        at = bracketed.replace("{id}", str(i))
        return f"{at}:{base_port + 2 * i}", f"{at}:{base_port + 2 * i + 1}"

    def admin_address(i: int) -> str:
        return f"127.0.0.1:{base_port + 2 * replicas + i}"

    config = create_cluster(
        directory,
        name=name,
        replicas=replicas,
        fault_model=fault_model,
        address=address,
        admin=admin_address,
        administrator=administrator,
    )
    if as_json:
        made = {
            "directory": str(directory),
            "name": config.name,
            "id": config.id,
            "fault_model": config.fault_model,
            "replicas": [{"id": each.id, "peers": each.peers, "clients": each.clients} for each in config.replicas],
            "faults": config.faults,
            "quorum": config.quorum,
            "administrator": config.administrator or None,
            "notes": list(config.notes),
        }
        results.print(json.dumps(made, indent=2))
        return
    results.print(f"{directory}: {replicas} replicas, {fault_model}, survive {config.faults} faulty")
    for note in config.notes:
        messages.print(f"note: {note}")
    messages.print(
        f"Each replica needs {directory}/cluster.toml and its own two files of {directory}/keys, and no other.\n"
        f"{_word_on_administrator(config, directory)}\n"
        f"Next: pssmr replica APP --cluster {directory} --id 0, or all here: pssmr up APP --cluster {directory}",
        markup=False,
    )


def _word_on_administrator(config: ClusterConfig, directory: Path) -> str:
    if not config.administrator:
        return "No administrator: nobody can add, remove or replace a replica of this cluster."
    return (
        f"{directory}/keys/{ADMINISTRATOR}.pem is who may add, remove and replace replicas, and upgrade the service: it"
        " belongs on no replica, and in a safe place of its own."
    )


def make_key(file: Path, *, public: bool, token: bool, as_json: bool) -> None:
    """Makes a key, or reads one, and prints its public half; or makes a token."""
    if token:
        generate_token(file)
        if as_json:
            results.print(json.dumps({"token_file": str(file)}))
        else:
            messages.print(f"{file}: a token, which only its owner can read", markup=False)
        return
    key = public_key(file) if public else generate_key(file)
    results.print(json.dumps({"key_file": str(file), "public_key": key}) if as_json else key)
