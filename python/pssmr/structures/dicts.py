"""Dicts by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pssmr.service import Call, Service, command, query
from pssmr.state import Map
from pssmr.structures.values import Key, Value, check_owner


class Dicts(Service):
    """Dicts by name. Commands on different keys run in parallel, in one dict, too.

    `dict_items` reads the dicts of all names to find those of one, and waits for all commands that change any.
    """

    dict_entries = Map[tuple[str, Key], Value]()
    dict_sizes = Map[str, int]()

    @command
    def dict_set(
        self,
        entry: Annotated[tuple[str, Key], dict_entries.write],
        name: Annotated[str, dict_sizes.commute],
        value: Value,
    ) -> Value:
        """Sets a key, and returns what it was; `None` if it was not there."""
        check_owner(entry, name)
        if entry not in self.dict_entries:
            self.dict_sizes.add(name, 1)
        before = self.dict_entries.get(entry)
        self.dict_entries[entry] = value
        return before

    @command
    def dict_compare_and_set(
        self,
        entry: Annotated[tuple[str, Key], dict_entries.write],
        name: Annotated[str, dict_sizes.commute],
        expected: Value,
        value: Value,
    ) -> bool:
        """Sets a key if it is `expected`, and says whether it was. One that is not there counts as `None`."""
        check_owner(entry, name)
        if self.dict_entries.get(entry) != expected:
            return False
        if entry not in self.dict_entries:
            self.dict_sizes.add(name, 1)
        self.dict_entries[entry] = value
        return True

    @command
    def dict_remove(
        self, entry: Annotated[tuple[str, Key], dict_entries.write], name: Annotated[str, dict_sizes.commute]
    ) -> Value:
        """Removes a key, and returns what it was; `None` if it was not there."""
        check_owner(entry, name)
        if entry in self.dict_entries:
            self.dict_sizes.add(name, -1)
        return self.dict_entries.pop(entry, None)

    @query
    def dict_get(self, entry: Annotated[tuple[str, Key], dict_entries.read]) -> Value:
        """What a key is; `None` if it is not there."""
        return self.dict_entries.get(entry)

    @query
    def dict_contains(self, entry: Annotated[tuple[str, Key], dict_entries.read]) -> bool:
        """Whether a key is there."""
        return entry in self.dict_entries

    @query
    def dict_len(self, name: Annotated[str, dict_sizes.read]) -> int:
        """How many keys a dict has."""
        return self.dict_sizes.get(name, 0)

    @query(reads=[dict_entries])
    def dict_items(self, name: str) -> dict[Key, Value]:
        """All of a dict."""
        return {key: self.dict_entries[owner, key] for owner, key in self.dict_entries if owner == name}


@dataclass(frozen=True, slots=True)
class Dict:
    """Makes commands for one dict: `client.execute(Dict("prices").set("tea", 3))`."""

    name: str

    def set(self, key: Key, value: Value) -> Call[Value]:
        """Sets a key; the result is what it was, `None` if it was not there."""
        return Dicts.dict_set.bind((self.name, key), self.name, value)

    def compare_and_set(self, key: Key, expected: Value, value: Value) -> Call[bool]:
        """Sets a key if it is `expected`, where one that is not there is `None`; the result is whether it was."""
        return Dicts.dict_compare_and_set.bind((self.name, key), self.name, expected, value)

    def remove(self, key: Key) -> Call[Value]:
        """Removes a key; the result is what it was, `None` if it was not there."""
        return Dicts.dict_remove.bind((self.name, key), self.name)

    def get(self, key: Key) -> Call[Value]:
        """The result is what a key is, `None` if it is not there."""
        return Dicts.dict_get.bind((self.name, key))

    def contains(self, key: Key) -> Call[bool]:
        """The result is whether a key is there."""
        return Dicts.dict_contains.bind((self.name, key))

    def len(self) -> Call[int]:
        """The result is how many keys there are."""
        return Dicts.dict_len.bind(self.name)

    def items(self) -> Call[dict[Key, Value]]:
        """The result is all of it. Reads the dicts of all names: for small ones, and now and then."""
        return Dicts.dict_items.bind(self.name)
