"""The flags of `lamina run` to a RunRequest; their meaning is that of `docker run`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lamina.cli import flag_values as parse
from lamina.cli.build_request import ISOLATIONS, NETWORKS
from lamina.cli.key_values import choose, parse_environment_pairs, parse_options, parse_switch
from lamina.cli.values import Values
from lamina.control.request import RunMount, RunRequest
from lamina.errors import UsageError

_WITHOUT_EFFECT = ("rw", "z", "Z", "cached", "consistent", "delegated")
_MOUNT_KEYS = {
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "readonly": "ro",
    "tmpfs-size": "size",
    **{key: key for key in ("type", "source", "ro", "size")},
}


def run_request(values: Values, environ: Mapping[str, str], *, cwd: str) -> RunRequest:
    """Raises UsageError."""
    image, *command = values.texts("image") or ("",)
    if not image:
        raise UsageError("the image is missing", hint="lamina run [FLAGS] IMAGE [COMMAND…]")
    volumes = [parse_volume(text, environ, cwd=cwd) for text in values.texts("volume")]
    mounts = [parse_mount(text, cwd=cwd) for text in values.texts("mount")]
    workdir = values.text("workdir")
    if workdir and not workdir.startswith("/"):
        raise UsageError(f"invalid value {workdir!r} for --workdir: it is no absolute path")
    return RunRequest(
        image=image,
        command=tuple(command),
        entrypoint=values.given("entrypoint"),
        env=parse_environment_pairs("--env", values.texts("env"), environ),
        mounts=(*volumes, *mounts),
        workdir=workdir,
        user=values.text("user"),
        hostname=values.text("hostname"),
        interactive=values.is_set("interactive"),
        terminal=values.is_set("tty"),
        network=choose("--network", values.text("network") or "default", NETWORKS, what="mode"),
        extra_hosts=tuple(
            pair for text in values.texts("add_host") for pair in parse.parse_host(text)
        ),
        ulimits=tuple(map(parse.parse_ulimit, values.texts("ulimit"))),
        shm_size=parse.parse_bytes("--shm-size", values.text("shm_size") or "0"),
        read_only=values.is_set("read_only"),
        isolation=choose(
            "--isolation", values.text("isolation") or "default", ISOLATIONS, what="driver"
        ),
    )


def parse_volume(text: str, environ: Mapping[str, str], *, cwd: str) -> RunMount:
    """`SRC:DST[:OPTION,…]`; SRC is a path (`./x`, `~/x`, `/x`), a bare name would be a volume."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not parts[0]:
        raise UsageError(f"invalid value {text!r} for --volume", hint="--volume SRC:DST[:ro]")
    source, target = parts[0], parts[1]
    options = parts[2].split(",") if len(parts) == 3 else []
    for option in options:
        choose("--volume", option, ("ro", *_WITHOUT_EFFECT), what="option")
    if source == "~" or source.startswith("~/"):
        source = environ.get("HOME", "/root") + source[1:]
    if not source.startswith(("/", ".")):
        raise UsageError(
            f"invalid value {text!r} for --volume: {source!r} would be a named volume, "
            "and there are none",
            hint=f"for the directory, write ./{source}",
        )
    return RunMount(
        type="bind",
        source=_existing(source, cwd, "--volume"),
        target=_absolute(target, text, "--volume"),
        read_only="ro" in options,
    )


def parse_mount(text: str, *, cwd: str) -> RunMount:
    """`type=bind,src=SRC,dst=DST[,ro]` or `type=tmpfs,dst=DST[,tmpfs-size=SIZE]`."""
    flag = "--mount"
    found: dict[str, str] = {}
    for key, value in parse_options(flag, text):
        known = _MOUNT_KEYS[choose(flag, key, _MOUNT_KEYS, what="key")]
        if value is None and known != "ro":
            raise UsageError(f"invalid value {text!r} for {flag}: {key!r} has no value")
        found[known] = "true" if value is None else value
    kind = choose(flag, found.get("type", "volume"), ("bind", "tmpfs", "volume"), what="type")
    if kind == "volume":
        raise UsageError("volumes are not supported", hint="--mount type=bind,src=DIR,dst=DIR")
    target = _absolute(found.get("target", ""), text, flag)
    if kind == "tmpfs":
        size = parse.parse_bytes("--mount size", found.get("size", "0"))
        return RunMount(type="tmpfs", target=target, size=size)
    return RunMount(
        type="bind",
        source=_existing(found.get("source", ""), cwd, flag),
        target=target,
        read_only=parse_switch("--mount readonly", found.get("ro", "false")),
    )


def _existing(source: str, cwd: str, flag: str) -> str:
    """The absolute path of a source. Docker makes what is missing, which hides mistakes."""
    if not source:
        raise UsageError(f"{flag}: the source is missing")
    path = os.path.normpath(os.path.join(cwd, source))
    if not os.path.lexists(path):
        raise UsageError(f"{flag}: {path} does not exist")
    return path


def _absolute(target: str, text: str, flag: str) -> str:
    if not target.startswith("/") or os.path.normpath(target).strip("/") == "":
        raise UsageError(
            f"invalid value {text!r} for {flag}: the target must be an absolute path below /"
        )
    return os.path.normpath("/" + target.lstrip("/"))
