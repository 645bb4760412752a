"""What was measured."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pssmr.bench.machine import describe_machine
from pssmr.bench.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One measurement's figures. Latencies are in milliseconds."""

    plan: Plan
    operations: int
    queries: int
    """How many of them were queries."""
    failures: int
    seconds: float
    operations_per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    query_p50_ms: float | None
    """Of queries alone; `None` if there were none."""
    query_p99_ms: float | None
    cpu_us_per_operation: float
    """Processor time of all processes, replicas and clients, for each operation, in microseconds."""
    machine: dict[str, str | int] = field(default_factory=describe_machine)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return dataclasses.asdict(self)

    def write(self, file: Path) -> None:
        """Writes all of it to a JSON file."""
        file.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    def print(self, console: Console) -> None:
        """Prints all of it."""
        plan = self.plan
        loop = "closed loop" if plan.in_flight == 1 else f"{plan.in_flight} in flight each"
        clients = "1 client" if plan.clients == 1 else f"{plan.clients} clients"
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_row("cluster", f"{plan.replicas} replicas, {plan.fault_model}, durability {plan.durability}, TLS on")
        table.add_row("load", f"{plan.service} service, {plan.payload} bytes, {clients}, {loop}, {self.seconds:.1f} s")
        table.add_row("throughput", f"[bold]{self.operations_per_second:,.0f} ops/s[/bold]")
        latency = (("p50", self.p50_ms), ("p99", self.p99_ms), ("p99.9", self.p999_ms))
        table.add_row("latency", "   ".join(f"{name} {value:.3g} ms" for name, value in latency))
        if self.query_p50_ms is not None:
            own = f"p50 {self.query_p50_ms:.3g} ms   p99 {self.query_p99_ms:.3g} ms"
            table.add_row("queries", f"{plan.queries} %, of these {own}")
        table.add_row("CPU", f"{self.cpu_us_per_operation:.1f} µs per operation, all processes")
        if self.failures:
            table.add_row("failed", f"[red]{self.failures:,}[/red]")
        machine = self.machine
        table.add_row("machine", f"{machine['cores']} cores, {machine['cpu']}, {machine['system']}")
        table.add_row("versions", f"pssmr {machine['pssmr']}, Python {machine['python']}")
        console.print(table)
