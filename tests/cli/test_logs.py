"""What a replica logs, for people and for programs."""

from __future__ import annotations

import json
import logging
import signal
import sys
from datetime import datetime
from pathlib import Path

from pssmr.cluster_local import make_local
from pssmr.cluster_processes import READY
from pssmr.logs import JsonFormatter
from tests.cli.conftest import BANK
from tests.cli.test_running import Running


def test_a_replica_logs_a_line_of_json_a_record(tmp_path: Path) -> None:
    cluster = make_local(tmp_path / "cluster", replicas=4, fault_model="bft")
    # The other three do not run: there are links to complain of.
    running = Running("replica", f"{BANK}:Bank", "--cluster", cluster, "--id", 2, "--log-format", "json")
    try:
        running.wait_for("cannot reach a replica")
        assert running.end(signal.SIGTERM) == 0
    finally:
        running.end(signal.SIGKILL)
    records = [json.loads(line) for line in running.printed.splitlines() if not line.startswith(READY)]
    assert {"time", "level", "logger", "message", "replica"} <= set(records[0])
    assert {record["replica"] for record in records} == {2}
    started = next(record for record in records if record["message"] == "replica started")
    assert (started["level"], started["logger"]) == ("info", "pssmr.replica")
    assert started["fields"]["replica"] == "r2"
    assert datetime.fromisoformat(started["time"]).utcoffset() is not None
    lost = next(record for record in records if record["message"] == "cannot reach a replica")
    assert lost["fields"]["reason"] == "Connection refused (os error 111)"


def record_of(error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("pssmr.handler", logging.ERROR, "file", 1, "%s failed", ("Bank.transfer",), exc_info)
    vars(record).update(extra)
    return record


def test_what_python_logs_has_its_message_and_its_traceback() -> None:
    try:
        sys.intern(5)  # type: ignore[arg-type]
    except TypeError as error:
        line = json.loads(JsonFormatter().format(record_of(error)))
    assert line["message"] == "Bank.transfer failed"
    assert "TypeError" in line["exception"]
    assert "\n" in line["exception"]
    assert "replica" not in line


def test_a_record_is_one_line_whatever_it_says() -> None:
    text = JsonFormatter(0).format(record_of(pssmr_message='two\nlines "quoted"', pssmr_fields={"peer": "ä\n"}))
    assert "\n" not in text
    assert json.loads(text)["message"] == 'two\nlines "quoted"'
    assert json.loads(text)["fields"] == {"peer": "ä\n"}
