"""The `pssmr` command."""

from __future__ import annotations

import sys

from pssmr.cli.application import app
from pssmr.cli.output import Options, report

__all__ = ["app", "main"]


def main() -> None:
    """Runs the `pssmr` command, and exits with its code."""
    options = Options()
    try:
        app(obj=options, prog_name="pssmr")
    except Exception as error:
        sys.exit(report(error, options))
