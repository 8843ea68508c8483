"""Programs that keep passwords: the docker-credential-helpers protocol.

A helper is called `docker-credential-<name>`, is given a verb as its argument and its question on
standard input, and answers on standard output:

    get    an address                               {"Username": …, "Secret": …}
    store  {"ServerURL": …, "Username": …, "Secret": …}
    erase  an address
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from lamina.errors import HostError

_TIMEOUT = 30.0
_NOTHING_KEPT = b"credentials not found"


class HelperFailed(HostError):
    """A credential helper is missing, or does not do what it should."""


def call_helper(name: str, verb: str, question: bytes, environ: Mapping[str, str]) -> bytes | None:
    """What the helper of that name answers; None if it says that it has nothing.

    Raises HelperFailed, in whose message nothing is that the helper said.
    """
    if "/" in name or name.startswith("."):
        raise HelperFailed(f"{name!r} is not the name of a credential helper")
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, verb],
            input=question,
            capture_output=True,
            env=dict(environ),
            timeout=_TIMEOUT,
            check=False,
        )
    except OSError as error:
        raise HelperFailed(f"{program}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise HelperFailed(f"{program} did not answer within {_TIMEOUT:.0f} s") from None
    if done.returncode == 0:
        return done.stdout
    if _NOTHING_KEPT in done.stdout:
        return None
    raise HelperFailed(f"{program} failed with exit code {done.returncode}")
