"""The flags of `docker buildx build`: those that work, those that change nothing, those refused."""

from __future__ import annotations

import click

from lamina.errors import UsageError

SUPPORTED = (
    ("--add-host", "HOST:IP", "Add a line to /etc/hosts of the steps"),
    ("--allow", "NAME", "Allow an entitlement (network.host)"),
    ("--annotation", "KEY=VALUE", "Add an annotation to the image"),
    ("--attest", "TYPE", "Attach a statement: type=provenance[,mode=min|max]"),
    ("--build-arg", "NAME[=VALUE]", "Set a build argument, by default to the variable's value"),
    (
        "--build-context",
        "NAME=PATH",
        "Another context: a directory, oci-layout:// or docker-image://",
    ),
    ("--cache-from", "CACHE", "A cache to look steps up in: NAME:TAG or type=TYPE,KEY=VALUE…"),
    ("--cache-to", "CACHE", "Where to write the cache: NAME:TAG, type=registry|local|inline|…"),
    ("--call", "METHOD", "What to do: build, check, lint (Docker's checks), targets[,format=json]"),
    ("--label", "KEY=VALUE", "Add a label to the image"),
    ("--no-cache-filter", "STAGE", "Run the steps of these stages anew"),
    (
        "--output",
        "TYPE",
        "What to make: type=oci|docker|tar|local|image|registry|cacheonly[,dest=PATH]",
    ),
    ("--platform", "OS/ARCH", "Build for these platforms"),
    ("--resource", "KEY=VALUE", "A limit of each step: memory=2g, cpu-quota=…, cpuset-cpus=0-1 …"),
    ("--provenance", "VALUE", "Attach a statement of provenance: true, false or mode=min|max"),
    ("--secret", "SECRET", "A secret for the steps: id=ID[,src=FILE|,env=NAME]"),
    ("--ssh", "ID", "An SSH agent or keys for the steps: default or ID=PATH[,PATH]"),
    ("--tag", "NAME", "Name of the image, in the local store and for --push"),
    ("--ulimit", "NAME=LIMIT", "A resource limit of the steps: nofile=1024[:2048]"),
)
SINGLE = (
    ("--file", "PATH", "The Dockerfile (default: Dockerfile in the context; - is standard input)"),
    ("--iidfile", "FILE", "Write the image's ID to a file"),
    ("--isolation", "DRIVER", "How steps are run: default, namespaces or oci (crun, runc)"),
    ("--metadata-file", "FILE", "Write what came of the build to a file, as JSON"),
    ("--network", "MODE", "Network of the steps: default, none or host"),
    ("--on-error", "ACTION", "When a step fails: shell, keep or export=DIR its files"),
    ("--progress", "MODE", "How progress is shown: auto, tty, plain, rawjson, quiet or none"),
    ("--shm-size", "SIZE", "Size of /dev/shm of the steps"),
    ("--target", "STAGE", "Build this stage and what it needs"),
)
SWITCHES = (
    ("--check", "Say what could be better, and build nothing (--call=check)"),
    ("--load", "Put the image into the local store (as happens without --output and --push)"),
    ("--no-cache", "Run every step anew"),
    ("--pull", "Look for newer base images"),
    ("--push", "Push the image to the registry that its name says (--output type=registry)"),
    ("--quiet", "Print the image's ID only"),
)
SHORT = {"--file": "-f", "--output": "-o", "--quiet": "-q", "--tag": "-t"}

NEEDS_DAEMON = "there is no daemon, so there is no builder to choose"
REFUSED = (
    ("--builder", NEEDS_DAEMON),
    ("--cgroup-parent", "steps run in the cgroup of lamina itself"),
    ("--policy", "source policies are not evaluated"),
    ("--print", "a build can be run, not described"),
    ("--security-opt", "every step runs with Docker's default confinement"),
)
REFUSED_SWITCHES = (
    ("--squash", "layers are not squashed; a last stage with COPY --from does the same"),
)
LIMITS = (
    *("--cpu-period", "--cpu-quota", "-c/--cpu-shares", "--cpuset-cpus", "--cpuset-mems"),
    *("-m/--memory", "--memory-swap"),
)
"""Flags of `docker build` that are written --resource now."""

WITHOUT_EFFECT = ("--compress", "--force-rm", "--rm")


def build_options() -> list[click.Parameter]:
    """The flags of `lamina build` and its one argument."""
    several = [
        click.Option(_names(name), metavar=metavar, help=text, multiple=True)
        for name, metavar, text in SUPPORTED
    ]
    single = [
        click.Option(_names(name), metavar=metavar, help=text) for name, metavar, text in SINGLE
    ]
    switches = [click.Option(_names(name), is_flag=True, help=text) for name, text in SWITCHES]
    jobs = click.Option(
        ["--jobs"],
        type=int,
        metavar="N",
        help="Steps to run at once (default: the CPUs, at least 4)",
    )
    shown = sorted([*several, *single, *switches, jobs], key=lambda option: option.opts[-1])
    return [*shown, *_looked_at(), *_hidden(), click.Argument(["context"], nargs=-1)]


def _names(name: str) -> list[str]:
    return [SHORT[name], name] if name in SHORT else [name]


def _looked_at() -> list[click.Option]:
    """Looked at in build_request: what they switch off is accepted."""
    names = ("--sbom",)
    return [click.Option([name], hidden=True, multiple=True) for name in names]


def _hidden() -> list[click.Option]:
    valued = [_refused(name, why, takes_value=True) for name, why in REFUSED]
    switches = [_refused(name, why, takes_value=False) for name, why in REFUSED_SWITCHES]
    nothing = [
        click.Option([name], is_flag=True, hidden=True, expose_value=False)
        for name in WITHOUT_EFFECT
    ]
    limits = [click.Option(names.split("/"), hidden=True) for names in LIMITS]
    return [*valued, *switches, *nothing, *limits]


def _refused(name: str, why: str, *, takes_value: bool) -> click.Option:
    def refuse(ctx: click.Context, param: click.Parameter, value: object) -> None:
        if value not in (None, (), False):
            raise UsageError(f"{name} is not supported yet: {why}")

    if takes_value:
        return click.Option([name], hidden=True, expose_value=False, multiple=True, callback=refuse)
    return click.Option([name], hidden=True, expose_value=False, is_flag=True, callback=refuse)
