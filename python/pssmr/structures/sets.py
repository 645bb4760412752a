"""Sets by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pssmr.service import Call, Service, command, query
from pssmr.state import Map
from pssmr.structures.values import Key, check_owner


class Sets(Service):
    """Sets by name. Commands on different elements run in parallel, in one set, too.

    `set_elements` reads the sets of all names to find those of one, and waits for all commands that change any.
    """

    set_members = Map[tuple[str, Key], None]()
    set_sizes = Map[str, int]()

    @command
    def set_add(
        self, member: Annotated[tuple[str, Key], set_members.write], name: Annotated[str, set_sizes.commute]
    ) -> bool:
        """Adds an element, and says whether it is new."""
        check_owner(member, name)
        if member in self.set_members:
            return False
        self.set_members[member] = None
        self.set_sizes.add(name, 1)
        return True

    @command
    def set_remove(
        self, member: Annotated[tuple[str, Key], set_members.write], name: Annotated[str, set_sizes.commute]
    ) -> bool:
        """Removes an element, and says whether it was there."""
        check_owner(member, name)
        if member not in self.set_members:
            return False
        del self.set_members[member]
        self.set_sizes.add(name, -1)
        return True

    @query
    def set_contains(self, member: Annotated[tuple[str, Key], set_members.read]) -> bool:
        """Whether an element is there."""
        return member in self.set_members

    @query
    def set_len(self, name: Annotated[str, set_sizes.read]) -> int:
        """How many elements a set has."""
        return self.set_sizes.get(name, 0)

    @query(reads=[set_members])
    def set_elements(self, name: str) -> set[Key]:
        """All of a set."""
        return {element for owner, element in self.set_members if owner == name}


@dataclass(frozen=True, slots=True)
class Set:
    """Makes commands for one set: `client.execute(Set("seen").add("ann"))`."""

    name: str

    def add(self, element: Key) -> Call[bool]:
        """Adds an element; the result is whether it is new."""
        return Sets.set_add.bind((self.name, element), self.name)

    def remove(self, element: Key) -> Call[bool]:
        """Removes an element; the result is whether it was there."""
        return Sets.set_remove.bind((self.name, element), self.name)

    def contains(self, element: Key) -> Call[bool]:
        """The result is whether an element is there."""
        return Sets.set_contains.bind((self.name, element))

    def len(self) -> Call[int]:
        """The result is how many elements there are."""
        return Sets.set_len.bind(self.name)

    def elements(self) -> Call[set[Key]]:
        """The result is all of it. Reads the sets of all names: for small ones, and now and then."""
        return Sets.set_elements.bind(self.name)
