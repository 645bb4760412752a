"""`pssmr init` and `pssmr keygen`."""

from __future__ import annotations

from pathlib import Path

from pssmr.cli.output import messages, results
from pssmr.cluster_create import create_cluster
from pssmr.cluster_fields import check_integer
from pssmr.cluster_keys import generate_key, generate_token, public_key
from pssmr.config import FaultModel


def init_cluster(
    directory: Path, *, replicas: int, fault_model: FaultModel, name: str, host: str, base_port: int
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
        directory, name=name, replicas=replicas, fault_model=fault_model, address=address, admin=admin_address
    )
    results.print(f"{directory}: {replicas} replicas, {fault_model}, survive {config.faults} faulty")
    for note in config.notes:
        messages.print(f"note: {note}")
    messages.print(
        f"Each replica needs {directory}/cluster.toml and its own two files of {directory}/keys, and no other.\n"
        f"Next: pssmr replica APP --cluster {directory} --id 0, or all here: pssmr up APP --cluster {directory}",
        markup=False,
    )


def make_key(file: Path, *, public: bool, token: bool) -> None:
    """Makes a key, or reads one, and prints its public half; or makes a token."""
    if token:
        generate_token(file)
        messages.print(f"{file}: a token, which only its owner can read", markup=False)
        return
    results.print(public_key(file) if public else generate_key(file))
