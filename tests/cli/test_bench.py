"""`pssmr bench` measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pssmr.bench.histogram import Histogram
from tests.cli.conftest import Pssmr

LATENCIES = np.random.default_rng(1).lognormal(-6, 1, 50_000)


@pytest.mark.parametrize("percent", [1, 50, 99, 99.9, 100])
def test_a_percentile_of_the_histogram_is_the_real_one_to_one_percent(percent: float) -> None:
    histogram = Histogram()
    histogram.add(LATENCIES)
    assert histogram.total == len(LATENCIES)
    real = np.percentile(LATENCIES, percent, method="inverted_cdf")
    assert histogram.percentile(percent) == pytest.approx(real, rel=0.01)


def test_histograms_add_up_and_survive_json() -> None:
    whole, first, second = Histogram(), Histogram(), Histogram()
    whole.add(LATENCIES)
    first.add(LATENCIES[:100])
    second.add(LATENCIES[100:])
    first.merge(Histogram.from_json(json.loads(json.dumps(second.to_json()))))
    assert (first.counts == whole.counts).all()


def test_latencies_beyond_the_buckets_are_counted_at_the_ends() -> None:
    histogram = Histogram()
    histogram.add(np.array([0.0, 1e-9, 1e9]))
    assert histogram.total == 3
    assert histogram.percentile(1) < 2e-6
    assert histogram.percentile(100) > 600
    assert Histogram().percentile(50) == 0


@pytest.mark.parametrize("service", ["python", "native"])
def test_a_short_run_prints_and_writes_its_figures(pssmr: Pssmr, tmp_path: Path, service: str) -> None:
    done = pssmr(
        "bench", "--service", service, "--duration", 0.5, "--in-flight", 8, "-n", 1, "--json", tmp_path / "figures.json"
    )
    assert done.returncode == 0, done.stderr
    assert "ops/s" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["operations"] > 0
    assert figures["queries"] == 0
    assert figures["query_p50_ms"] is None
    assert figures["failures"] == 0
    assert figures["operations_per_second"] == pytest.approx(figures["operations"] / 0.5)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["p999_ms"]
    assert figures["cpu_us_per_operation"] > 0
    assert figures["plan"]["service"] == service
    assert figures["machine"]["cores"] >= 1


def test_of_a_load_with_queries_so_many_are_queries_and_have_figures_of_their_own(pssmr: Pssmr, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = pssmr("bench", "--duration", 0.5, "--in-flight", 8, "-n", 1, "--queries", 40, "--json", figures)
    assert done.returncode == 0, done.stderr
    assert "40 %, of these p50" in done.stdout
    found = json.loads(figures.read_text())
    assert found["queries"] / found["operations"] == pytest.approx(0.4, abs=0.1)
    assert 0 < found["query_p50_ms"] <= found["query_p99_ms"]
    assert pssmr("bench", "--queries", 101).returncode == 2
