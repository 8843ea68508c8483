"""A command line that builds, as the call that it is."""

from __future__ import annotations

from lamina.advisor.workflows.calls import BuildCall, Job, Kind, dockerfile_paths
from lamina.advisor.workflows.commandline import BuildCommand


def called(command: BuildCommand, root: str, job: Job) -> BuildCall:
    """The call of a builder in a script that starts in the folder `root`, "" if not known."""
    file = command.value("-f", "--file")
    # Only builders with stores of their own can write caches elsewhere, and lose theirs.
    plain = command.program[:2] in (("docker", "build"), ("docker", "image"))
    paths: tuple[str, ...] = ()
    if root and not command.moved:
        paths = (
            dockerfile_paths(root, ".", file)
            if file
            else dockerfile_paths(root, command.context, "Dockerfile")
        )
    arguments = command.values("--build-arg")
    return BuildCall(
        kind=Kind.COMMAND,
        span=command.span,
        dockerfiles=paths,
        target=command.value("--target"),
        cache_from=command.values("--cache-from"),
        cache_to=command.values("--cache-to"),
        inline=any(each.text == "BUILDKIT_INLINE_CACHE=1" for each in arguments),
        quiet=plain or bool(command.values("--no-cache", "--call", "--check", "--help")),
        job=job,
    )
