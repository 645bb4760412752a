"""What the core's threads log goes to `logging`, to loggers such as `pssmr.replica` and `pssmr.client`.

One thread of Python does it, in bursts, so that no thread of the core ever waits for the interpreter. The level is that
of the logger `pssmr` when the first client or replica is made, or what `set_level` says later.

A record's message is for people, with its fields as `name=value` behind it; `JsonFormatter` keeps them apart, for
programs.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading

from pssmr import _core

LEVELS = ("debug", "info", "warning", "error")
"""What can be logged: all of this level, and of those after it."""

_lock = threading.Lock()
_thread: threading.Thread | None = None


def start_forwarding() -> None:
    """Starts it, once."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_forward, name="pssmr-log", daemon=True)
            if _core.forward_logs(logging.getLogger("pssmr").getEffectiveLevel()):
                _thread.start()


def set_level(level: str) -> None:
    """Changes how much the logger `pssmr` and the core's threads log: a name in `LEVELS`."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger("pssmr").setLevel(number)
    _core.set_log_level(number)


def _forward() -> None:
    while (lines := _core.next_logs()) is not None:
        for level, logger, message, fields in lines:
            extra = {"pssmr_message": message, "pssmr_fields": dict(fields)}
            text = message + "".join(f" {name}={_shown(value)}" for name, value in fields)
            logging.getLogger(logger).log(level, "%s", text, extra=extra)


def _shown(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if " " in value or not value else value


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON.

    It has `time`, `level`, `logger` and `message`, and `replica`, `fields`, `trace_id`, `span_id` and `exception` if
    there are such.
    """

    def __init__(self, replica: int | None = None) -> None:
        """Formats the records of a process.

        Args:
            replica: The id of the replica that runs in it.
        """
        super().__init__()
        self._replica = replica

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": getattr(record, "pssmr_message", None) or record.getMessage(),
        }
        if self._replica is not None:
            line["replica"] = self._replica
        if fields := getattr(record, "pssmr_fields", None):
            line["fields"] = fields
        if trace := getattr(record, "trace_id", None):
            line["trace_id"], line["span_id"] = trace, getattr(record, "span_id", "")
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def end_forwarding() -> None:
    """Ends it, once all is forwarded."""
    if _thread is not None and _thread.is_alive():
        _core.end_logs()
        _thread.join()
