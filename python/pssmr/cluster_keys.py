"""Private key files: Ed25519 in PKCS#8 PEM form, the one that `openssl genpkey -algorithm ed25519` writes too."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from pssmr.errors import ConfigError

_PEM_BYTES_MAX = 4096


def generate_key(file: Path) -> str:
    """Draws a key, writes it to `file` (mode 0600, its directory 0700) and returns the public half in hexadecimal.

    Raises:
        ConfigError: If the file is there already, or can't be written.
    """
    from pssmr import _core

    pem, public = _core.generate_key()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            "is there already: a key is never overwritten", source=str(file), remedy="choose another name, or remove it"
        ) from None
    except OSError as error:
        raise ConfigError(f"can't be written: {error.strerror}", source=str(file)) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(pem)
    return public


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
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigError(
                    f"has mode {mode:04o}, so others than its owner can use this private key",
                    source=str(file),
                    remedy=f"chmod 600 {file}",
                )
            content = stream.read(_PEM_BYTES_MAX)
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
    try:
        pem = content.decode("ascii")
        return pem, _core.public_key(pem)
    except ValueError:
        raise ConfigError(
            "holds no Ed25519 private key in PKCS#8 PEM form", source=str(file), remedy="`pssmr keygen` makes one"
        ) from None
