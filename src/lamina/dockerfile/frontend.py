"""The frontend that a Dockerfile asks for (`# syntax=`), or that is asked for in its place."""

from __future__ import annotations

from lamina.dockerfile.directives import find_syntax
from lamina.dockerfile.request import LoweringRequest
from lamina.errors import UserError

_FRONTENDS = ("docker/dockerfile", "docker/dockerfile-upstream")


def check_frontend(request: LoweringRequest) -> None:
    """Raises UserError if the Dockerfile wants to be read by somebody else."""
    directive = find_syntax(request.dockerfile.text)
    asked = request.build_args.get("BUILDKIT_SYNTAX") or (directive.value if directive else "")
    frontend = asked.split(" ")[0]
    name = frontend.removeprefix("docker.io/").partition(":")[0].partition("@")[0]
    if frontend and name not in _FRONTENDS:
        raise UserError(
            f"the Dockerfile asks for the frontend {frontend}, and Lamina has only its own",
            hint="it reads what docker/dockerfile:1 reads; leave the syntax line out, or name that",
        )
