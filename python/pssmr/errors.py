"""Everything that pssmr raises: one small tree under `Error`."""

from __future__ import annotations


class Error(Exception):
    """The root of what pssmr raises."""


class ConfigError(Error):
    """A configuration that can't be used.

    Attributes:
        problem: What is wrong, with the value.
        field: The path of the field, such as `replicas[2].peers`; empty if the whole source is meant.
        remedy: What to do about it; may be empty.
        source: The file that the configuration came from; empty for a Python object.
    """

    def __init__(self, problem: str, *, field: str = "", remedy: str = "", source: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.field = field
        self.remedy = remedy
        self.source = source

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.source, self.field, self.problem) if part)
        return f"{text}; {self.remedy}" if self.remedy else text

    def within(self, prefix: str = "", *, source: str = "") -> ConfigError:
        """The same error, seen from outside: its field lies under `prefix`, its configuration came from `source`."""
        dot = "." if prefix and self.field and not self.field.startswith("[") else ""
        return ConfigError(
            self.problem, field=f"{prefix}{dot}{self.field}", remedy=self.remedy, source=source or self.source
        )
