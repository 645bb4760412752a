"""`pssmr bench`: whole clusters on this machine, under load, measured."""

from pssmr.bench.plan import Plan
from pssmr.bench.report import Report
from pssmr.bench.runner import run, run_and_print

__all__ = ["Plan", "Report", "run", "run_and_print"]
