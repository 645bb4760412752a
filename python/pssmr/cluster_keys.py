"""Files that only their owner may read: private keys and tokens.

Keys are Ed25519, in PKCS#8 PEM form, the one that `openssl genpkey -algorithm ed25519` writes too. A token is a line of
text that whoever changes something at a replica over HTTP has to know.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from pssmr.errors import ConfigError

_SECRET_BYTES_MAX = 4096


def generate_key(file: Path) -> str:
    """Draws a key, writes it to `file` (mode 0600, its directory 0700) and returns the public half in hexadecimal.

    Raises:
        ConfigError: If the file is there already, or can't be written.
    """
    from pssmr import _core

    pem, public = _core.generate_key()
    _write(file, pem)
    return public


def generate_token(file: Path) -> None:
    """Draws a token and writes it to `file` (mode 0600, its directory 0700).

    Raises:
        ConfigError: If the file is there already, or can't be written.
    """
    _write(file, secrets.token_urlsafe(32) + "\n")


def _write(file: Path, secret: str) -> None:
    """Writes a secret to a new file that only its owner may read."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            "is there already: a secret is never overwritten",
            source=str(file),
            remedy="choose another name, or remove it",
        ) from None
    except OSError as error:
        raise ConfigError(f"can't be written: {error.strerror}", source=str(file)) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(secret)


def read_key(file: Path, *, expected: Mapping[str, str]) -> str:
    """The private key in `file`, as PEM text.

    Args:
        file: The key file. Nobody but its owner may read it.
        expected: The public keys that it may belong to, and whose they are.

    Raises:
        ConfigError: If the file can't be read, others may read it, it holds no key, or one that belongs to nobody in
            `expected`.
    """
    pem, public = _read(file)
    if public not in expected:
        owners = ", ".join(dict.fromkeys(expected.values()))
        raise ConfigError(
            f"holds the private key of {public}, which is not the key of {owners}",
            source=str(file),
            remedy="give the right key file, or write this public key into the configuration",
        )
    return pem


def read_token(file: Path) -> str:
    """The token in `file`.

    Raises:
        ConfigError: If the file can't be read, others may read it, or it holds no token.
    """
    token = _read_secret(file).decode("ascii", errors="replace").strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{32,}", token):
        raise ConfigError("holds no token", source=str(file), remedy="`pssmr keygen --token` makes one")
    return token


def public_key(file: Path) -> str:
    """The public half, in hexadecimal, of the private key in `file`.

    Raises:
        ConfigError: As for `read_key`.
    """
    return _read(file)[1]


def _read(file: Path) -> tuple[str, str]:
    """The private key in `file` as PEM text, and its public half in hexadecimal."""
    from pssmr import _core

    try:
        pem = _read_secret(file).decode("ascii")
        return pem, _core.public_key(pem)
    except ValueError:
        raise ConfigError(
            "holds no Ed25519 private key in PKCS#8 PEM form", source=str(file), remedy="`pssmr keygen` makes one"
        ) from None


def _read_secret(file: Path) -> bytes:
    """What is in a file that only its owner may read."""
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigError(
                    f"has mode {mode:04o}, so others than its owner can use this secret",
                    source=str(file),
                    remedy=f"chmod 600 {file}",
                )
            return stream.read(_SECRET_BYTES_MAX)
    except FileNotFoundError:
        raise ConfigError(
            "there is no such key file",
            source=str(file),
            remedy="copy it here from where `pssmr init` or `pssmr keygen` made it, or give another path",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"can't be read: {error.strerror}", source=str(file), remedy="check whose it is, and its permissions"
        ) from error
