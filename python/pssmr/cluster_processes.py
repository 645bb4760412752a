"""Replicas as processes of this machine: started, watched, paused, killed, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO

from pssmr.errors import Error
from pssmr.exit_codes import ExitCode

READY = "pssmr: listening"
"""How the line starts that a replica prints to standard output when it listens."""


class ReplicaFailed(Error):
    """A replica's process ended by itself.

    Attributes:
        replica: Its id.
        code: Its exit code; negative, the signal that ended it.
    """

    def __init__(self, replica: int, code: int, log: str) -> None:
        super().__init__(f"replica {replica} ended with {describe_exit(code)}{f': {log}' if log else ''}")
        self.replica = replica
        self.code = code

    @property
    def address_in_use(self) -> bool:
        """Whether another process had taken the replica's port."""
        return self.code == ExitCode.ADDRESS


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    known = next((each for each in ExitCode if each == code), None)
    return f"exit code {code} ({known.name.lower()})" if known else f"exit code {code}"


@cache
def _spawner() -> ThreadPoolExecutor:
    """The one thread that starts replicas.

    The kernel kills a replica when the *thread* that started it ends (PR_SET_PDEATHSIG), so it has to be one that
    lives as long as this process.
    """
    return ThreadPoolExecutor(1, "pssmr-spawner")


class ReplicaProcess:
    """One replica in a process of its own. It ends when this process does, however this one ends."""

    def __init__(
        self,
        application: str,
        cluster: Path,
        replica: int,
        *,
        on_line: Callable[[str], None],
        verbose: bool = False,
        record: Path | None = None,
    ) -> None:
        """Starts the process.

        Args:
            application: `module:Class` or `path/file.py:Class`.
            cluster: The directory or file of the configuration.
            replica: Which replica to be.
            on_line: Takes each line that it logs, in a thread of its own.
            verbose: Log more.
            record: A file in which it records what its ordering is told.
        """
        self.replica = replica
        self._on_line = on_line
        self._last_lines: list[str] = []
        self._paused = False
        self._ready = threading.Event()
        self._log_lock = threading.Lock()
        command = [sys.executable, "-m", "pssmr", *(["--verbose"] if verbose else [])]
        command += ["replica", application, "--cluster", str(cluster), "--id", str(replica)]
        command += ["--parent", str(os.getpid())]
        command += ["--record", str(record)] if record is not None else []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path), "PYTHONUNBUFFERED": "1"}
        # A session of its own, so that a Ctrl-C at the terminal is this process's to act on.
        self._process: subprocess.Popen[str] = (
            _spawner()
            .submit(
                lambda: subprocess.Popen(  # noqa: S603 - our own interpreter, with arguments of its own
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    env=environment,
                    start_new_session=True,
                )
            )
            .result()
        )
        self._pumps = [
            threading.Thread(target=pump, args=(stream,), name=f"pssmr-log-{replica}", daemon=True)
            for pump, stream in ((self._pump_log, self._process.stderr), (self._pump_output, self._process.stdout))
        ]
        for pump in self._pumps:
            pump.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended; a paused one has not."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code; negative, the signal that ended it; `None` while it runs."""
        return self._process.poll()

    def wait_ready(self, timeout: float | None = 60.0) -> None:
        """Waits until the replica listens; `None`: for as long as it runs.

        Raises:
            ReplicaFailed: If it ended instead.
            Error: If it takes longer than `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ready.wait(0.02):
            code = self._process.poll()
            if code is not None:
                self._join_pumps()
                raise ReplicaFailed(self.replica, code, self.log_tail())
            if deadline is not None and time.monotonic() > deadline:
                raise Error(f"replica {self.replica} does not listen after {timeout:g} s: {self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines that it logged."""
        with self._log_lock:
            return " | ".join(self._last_lines[-5:])

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it runs."""
        if self.running:
            self._process.send_signal(number)

    def pause(self) -> None:
        """Stops it with SIGSTOP, and waits until none of its threads runs: on a busy machine that takes a while."""
        if self._paused:
            return
        self.signal(signal.SIGSTOP)
        with contextlib.suppress(ChildProcessError):
            while self.running and os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG) is None:
                time.sleep(0.001)
        self._paused = True

    def resume(self) -> None:
        """Lets it go on with SIGCONT."""
        self._paused = False
        self.signal(signal.SIGCONT)

    def stop(self, timeout: float = 10.0) -> int:
        """Asks it to end, kills it if it does not within `timeout` seconds, and returns its exit code."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        return self.wait(timeout)

    def kill(self) -> int:
        """Ends it at once, as a power cut would, and returns its exit code."""
        self.signal(signal.SIGKILL)
        return self.wait(10.0)

    def wait(self, timeout: float) -> int:
        """Waits until it ended, kills it after `timeout` seconds, and returns its exit code."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._join_pumps()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return self._process.returncode

    def _join_pumps(self) -> None:
        for pump in self._pumps:
            pump.join(timeout=5.0)

    def _pump_log(self, stream: IO[str]) -> None:
        for line in stream:
            text = line.rstrip("\n")
            with self._log_lock:
                self._last_lines = [*self._last_lines[-49:], text]
            self._on_line(text)

    def _pump_output(self, stream: IO[str]) -> None:
        for line in stream:
            if line.startswith(READY):
                self._ready.set()
            else:
                self._on_line(line.rstrip("\n"))


def stop_all(processes: list[ReplicaProcess], timeout: float = 10.0) -> None:
    """Stops these replicas at the same time."""
    for process in processes:
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)
    deadline = time.monotonic() + timeout
    for process in processes:
        process.wait(max(0.1, deadline - time.monotonic()))
