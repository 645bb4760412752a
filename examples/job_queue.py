"""A queue of jobs that are done at least once: who takes one has it for a lease, and it comes back if they die.

pssmr up examples/job_queue.py:Jobs                     # prints DIR
python examples/job_queue.py DIR add 'sweep the floor'
python examples/job_queue.py DIR work
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import pssmr

SECOND_NS = 1_000_000_000


class NotYours(pssmr.Refused):
    """The lease ran out, and the job was given to somebody else, or was done."""


@dataclass(frozen=True)
class Job:
    """A job that was taken."""

    number: int
    attempt: int
    """How often it was taken, this time included. With the number it says who may finish it."""
    text: str


@dataclass(frozen=True)
class Taken:
    """What is known of a job that somebody works at."""

    text: str
    attempt: int
    until_ns: int


class Jobs(pssmr.Service):
    """Jobs in the order in which they came. Time is the agreed one: no worker's clock matters."""

    waiting = pssmr.Map[int, tuple[int, str]]()
    """The attempts so far, and the text, by number."""
    taken = pssmr.Map[int, Taken]()
    ends = pssmr.Map[tuple[int, int], None]()
    """When leases run out, and whose: sorted by time, so that the next is found without looking at all."""
    numbers = pssmr.Map[None, int]()

    @pssmr.command(writes=[waiting, numbers])
    def add(self, text: str) -> int:
        """Puts a job at the end, and returns its number."""
        number = self.numbers.get(None, 0)
        self.numbers[None] = number + 1
        self.waiting[number] = (0, text)
        return number

    @pssmr.command(writes=[waiting, taken, ends])
    def take(self, context: pssmr.Context, lease_seconds: int) -> Job | None:
        """Takes the first job; those whose lease has run out wait again, in their old places."""
        for until_ns, number in self.ends:
            if until_ns > context.time_ns:
                break
            over = self._forget(number)
            self.waiting[number] = (over.attempt, over.text)
        number = next(iter(self.waiting), -1)
        if number < 0:
            return None
        attempt, text = self.waiting.pop(number)
        self._give(number, Taken(text, attempt + 1, context.time_ns + lease_seconds * SECOND_NS))
        return Job(number, attempt + 1, text)

    @pssmr.command(writes=[taken, ends])
    def renew(self, context: pssmr.Context, job: Job, lease_seconds: int) -> None:
        """Makes the lease last from now on."""
        self._check(job)
        held = self._forget(job.number)
        self._give(job.number, Taken(held.text, held.attempt, context.time_ns + lease_seconds * SECOND_NS))

    @pssmr.command(writes=[taken, ends])
    def finish(self, job: Job) -> None:
        """The job is done."""
        self._check(job)
        self._forget(job.number)

    @pssmr.query(reads=[waiting, taken])
    def counts(self) -> tuple[int, int]:
        """How many jobs wait, and how many are taken."""
        return len(self.waiting), len(self.taken)

    def _check(self, job: Job) -> None:
        held = self.taken.get(job.number)
        if held is None or held.attempt != job.attempt:
            raise NotYours(f"job {job.number}, attempt {job.attempt}")

    def _give(self, number: int, taken: Taken) -> None:
        self.taken[number] = taken
        self.ends[taken.until_ns, number] = None

    def _forget(self, number: int) -> Taken:
        taken = self.taken.pop(number)
        del self.ends[taken.until_ns, number]
        return taken


def work(client: pssmr.Client, *, lease_seconds: int = 30) -> int:
    """Does the jobs that there are, and returns how many."""
    done = 0
    while job := client.call(Jobs.take, lease_seconds):
        print(f"job {job.number}, attempt {job.attempt}: {job.text}")
        time.sleep(0.01)  # the work; what takes longer than the lease calls Jobs.renew meanwhile
        try:
            client.call(Jobs.finish, job)
            done += 1
        except NotYours as refused:
            print(f"too late: {refused}")
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cluster", help="the directory of the cluster's configuration")
    parser.add_argument("action", choices=("add", "work"))
    parser.add_argument("text", nargs="?", default="")
    options = parser.parse_args()
    with pssmr.Client(options.cluster) as connected:
        if options.action == "add":
            print(f"job {connected.call(Jobs.add, options.text)}")
        else:
            print(f"{work(connected)} jobs done")
