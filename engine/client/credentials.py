"""Credentials files of NATS: a JWT with its nkey seed, or a seed alone."""

from __future__ import annotations

import re
from pathlib import Path

import nats.errors

_JWT = re.compile(r"-----BEGIN NATS USER JWT-----\s+(\S+)")
_SEED = re.compile(r"-----BEGIN USER NKEY SEED-----\s+(\S+)")


class LoginError(nats.errors.Error):
    """The client does not log in: TLS is required but not offered, or a file is not usable."""


def read_credentials(path: str) -> tuple[str, str]:
    """Return (nkey seed, JWT); the JWT is "" if the file has only a seed. Raise LoginError."""
    # Imported here because few setups need it, and it would slow down every start.
    import nkeys  # type: ignore[import-untyped]

    try:
        text = Path(path).read_text(encoding="ascii")
        jwt, seed = _JWT.search(text), _SEED.search(text)
        found = seed[1] if seed else text.strip()
        nkeys.from_seed(bytearray(found.encode())).wipe()
    except OSError as exc:
        raise LoginError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, nkeys.NkeysError) as exc:
        raise LoginError(f"{path} is neither a .creds file nor an nkey seed") from exc
    return found, jwt[1] if jwt else ""
