"""Quick start, in cells as a notebook has them: run it whole, or cell by cell in an editor that knows `# %%`."""

# %% A service is a class whose methods are commands. They say at their arguments which state they touch.
from typing import Annotated

import pssmr
from pssmr.testing import LocalCluster, check


class Votes(pssmr.Service):
    """Counts votes."""

    counts = pssmr.Map[str, int]()

    @pssmr.command
    def vote(self, name: Annotated[str, counts.write]) -> int:
        """Votes for somebody, and returns how many have."""
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.counts[name]

    @pssmr.query(reads=[counts])
    def winner(self) -> str | None:
        """Who has the most votes; of several, the first by name."""
        return max(self.counts, key=lambda name: self.counts[name], default=None)


# %% Without a cluster its commands are plain calls.
votes = Votes()
assert votes.vote("ann") == 1
assert votes.winner() == "ann"

# %% Would replicas agree, whatever their workers do? Random commands, in many orders, with restarts in between.
report = check(Votes, runs=20, other_processes=False)
print(f"checked with {report.executed.total()} commands")

# %% Four replicas, of which one may do anything at all. Here they are threads; in earnest, machines.
with LocalCluster(Votes, in_process=True) as cluster, cluster.client(timeout=60) as client:
    for name in ("ann", "bob", "bob"):
        client.call(Votes.vote, name)
    print("the winner is", client.call(Votes.winner))

    # One is lost, and nobody notices.
    cluster.stop(cluster.leader())
    assert client.call(Votes.vote, "bob") == 3
    print("and still is", client.call(Votes.winner), "with a replica less")
