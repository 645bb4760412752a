"""Checks of single fields of a configuration. Each raises `ConfigError` with the field, the value and a remedy."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pssmr.errors import ConfigError

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]{0,62}\.?)*")


def shown(value: object) -> str:
    """The value as an error shows it: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(word: str, words: Iterable[str]) -> str:
    """`, did you mean 'x'?`, or nothing if no known word is close."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def ids_in_words(ids: Sequence[int]) -> str:
    """Replicas' ids as an error says them: `0 to 3`, or `0, 2, 5`."""
    ordered = sorted(ids)
    if len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))


def check_type(value: object, name: str, kind: type | tuple[type, ...], expected: str) -> None:
    """Refuses a value of another type."""
    if not isinstance(value, kind):
        raise ConfigError(
            f"is {shown(value)} ({type(value).__name__}), but has to be {expected}",
            field=name,
            remedy=f"write {expected}",
        )


def check_integer(value: object, name: str, low: int, high: int, unit: str = "") -> None:
    """Refuses what is not a whole number from `low` to `high`. `True` is not a number."""
    expected = f"{low} to {high}{f' {unit}' if unit else ''}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(
            f"is {shown(value)} ({type(value).__name__}), but has to be a whole number",
            field=name,
            remedy=f"write a number from {expected}",
        )
    if not low <= value <= high:
        raise ConfigError(f"is {value}, but has to be {expected}", field=name, remedy="choose a value in this range")


def check_choice(value: object, name: str, choices: Sequence[str]) -> None:
    """Refuses what is none of `choices`."""
    options = " or ".join(f'"{each}"' for each in choices)
    if not isinstance(value, str) or value not in choices:
        close = nearest(value, choices) if isinstance(value, str) else ""
        raise ConfigError(f"is {shown(value)}{close}", field=name, remedy=f"write {options}")


def check_hexadecimal(value: object, name: str, digits: int, what: str) -> None:
    """Refuses what is not `digits` hexadecimal digits."""
    check_type(value, name, str, f"{digits} hexadecimal digits")
    text = str(value)
    if len(text) != digits:
        raise ConfigError(
            f"is {shown(text)}, which has {len(text)} characters, but {what} has {digits} hexadecimal digits",
            field=name,
            remedy="copy all of it",
        )
    bad = next((c for c in text if c not in "0123456789abcdefABCDEF"), None)
    if bad is not None:
        raise ConfigError(
            f"is {shown(text)}, in which {bad!r} is not a hexadecimal digit", field=name, remedy="copy it again"
        )


def check_key(value: object, name: str) -> None:
    """Refuses what can't be an Ed25519 public key."""
    check_hexadecimal(value, name, 64, "a public key")
    if not int(str(value), 16):
        raise ConfigError(
            "is all zeros, which is no key", field=name, remedy="write the key that `pssmr keygen` prints"
        )


def split_address(value: str) -> tuple[str, str]:
    """Splits `host:port` and `[IPv6]:port`; either part is empty if it is missing."""
    if value.startswith("["):
        host, _, port = value[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = value.rpartition(":") if ":" in value else (value, "", "")
    return host, port


def check_address(value: object, name: str, *, any_port: bool = False) -> None:
    """Refuses what is not `host:port` with a usable port. With `any_port`, 0 is one: it stands for any that is free."""
    example = 'write "host:port", such as "127.0.0.1:7100", "replica-0.example:7100" or "[::1]:7100"'
    check_type(value, name, str, '"host:port"')
    text = str(value)
    host, port = split_address(text)
    if not host or not port:
        raise ConfigError(f"is {shown(text)}, which has no {'port' if host else 'host'}", field=name, remedy=example)
    if not _is_host(host, bracketed=text.startswith("[")):
        raise ConfigError(f"is {shown(text)}, whose host {shown(host)} is none", field=name, remedy=example)
    lowest = 0 if any_port else 1
    if not (port.isascii() and port.isdigit()) or not lowest <= int(port) <= 65_535:
        raise ConfigError(f"is {shown(text)}, whose port is not {lowest} to 65535", field=name, remedy=example)


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        return ipaddress.ip_address(host).version == (6 if bracketed else 4)
    except ValueError:
        looks_like_ip = re.fullmatch(r"[0-9.]+", host) is not None
        return not bracketed and not looks_like_ip and _HOST.fullmatch(host) is not None


def is_loopback(value: str) -> bool:
    """Whether only this machine can reach the address."""
    host = split_address(value)[0].lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def canonical_address(value: str) -> str:
    """One text for one address: `localhost` is 127.0.0.1, names have no case."""
    host, port = split_address(value.lower())
    if host == "localhost":
        host = "127.0.0.1"
    return f"[{host}]:{int(port)}" if ":" in host else f"{host}:{int(port)}"


def check_items(value: object, name: str, kind: type) -> tuple[Any, ...]:
    """The value as a tuple. Refuses what is not a list or tuple of `kind`."""
    check_type(value, name, (list, tuple), f"a list of {kind.__name__}")
    assert isinstance(value, (list, tuple))
    for i, item in enumerate(value):
        check_type(item, f"{name}[{i}]", kind, f"a {kind.__name__}")
    return tuple(value)
