"""Values of the flags of `lamina build`, parsed as `docker buildx build` parses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lamina.cli.key_values import choose, parse_fields, parse_options, parse_switch
from lamina.control.request import OutputRequest, SecretSource, SshSource
from lamina.errors import UsageError, UserError
from lamina.notation.sizes import parse_size
from lamina.oci.platform import Platform, parse_platform
from lamina.oci.reference import Reference, parse_reference

OUTPUT_TYPES = ("oci", "docker", "tar", "local", "image", "registry", "cacheonly")
ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
ANNOTATED = ("index", "index-descriptor", "manifest", "manifest-descriptor")
HOST_GATEWAY = "host-gateway"
LOOPBACK = "127.0.0.1"


def parse_output(text: str) -> OutputRequest:
    """`type=oci,dest=x`, a bare path (a directory of files) or `-` (a tar on standard output)."""
    flag = "--output"
    fields = parse_fields(flag, text)
    if fields == (text,) and not text.startswith("type="):
        return OutputRequest(type="tar" if text == "-" else "local", dest=text)
    attributes: dict[str, str] = {}
    for key, value in parse_options(flag, text):
        if value is None:
            raise UsageError(f"invalid value {text!r} for {flag}: {key!r} has no value")
        attributes[key] = value
    kind = attributes.pop("type", "")
    if not kind:
        raise UsageError(
            f"invalid value {text!r} for {flag}: type is required",
            hint=f"write type=…, one of {', '.join(OUTPUT_TYPES)}",
        )
    choose(flag, kind, OUTPUT_TYPES, what="type")
    if kind == "registry":
        kind, attributes = "image", {"push": "true", **attributes}
    return _checked(kind, attributes.pop("dest", None), attributes, text)


def _checked(kind: str, dest: str | None, attributes: dict[str, str], text: str) -> OutputRequest:
    flag = "--output"
    unpacked = kind in ("oci", "docker") and not _true(attributes, "tar", default=True)
    if not dest and (kind == "local" or unpacked):
        raise UsageError(f"invalid value {text!r} for {flag}: dest is required")
    if dest == "-" and (kind == "local" or unpacked):
        raise UsageError(f"invalid value {text!r} for {flag}: a directory cannot be written to -")
    if dest and kind in ("image", "cacheonly"):
        raise UsageError(f"invalid value {text!r} for {flag}: type {kind} has no dest")
    if kind == "docker" and not dest:
        kind = "image"  # what `docker load` would do with it
    return OutputRequest(type=kind, dest=dest or None, attributes=attributes)


def _true(attributes: Mapping[str, str], key: str, *, default: bool = False) -> bool:
    return parse_switch(f"--output {key}", attributes[key]) if key in attributes else default


def parse_secret(text: str, environ: Mapping[str, str]) -> SecretSource:
    """`id=ID[,src=FILE|,env=NAME][,type=file|env]`.

    Without a source, the environment variable named like the secret is taken where it is set, else
    the file of that name.
    """
    flag = "--secret"
    found: dict[str, str] = {}
    for key, value in parse_options(flag, text):
        if value is None:
            raise UsageError(f"invalid value {text!r} for {flag}: {key!r} must be a key=value pair")
        found[choose(flag, "src" if key == "source" else key, _SECRET_KEYS, what="key")] = value
    kind = choose(flag, found.get("type", "file"), ("file", "env"), what="type")
    name = found.get("id", "")
    if not name:
        raise UsageError(f"invalid value {text!r} for {flag}: id is missing")
    path, variable = found.get("src", ""), found.get("env", "")
    if kind == "env" and not variable:
        path, variable = "", path or name
    if not path and not variable:
        if name in environ and "type" not in found:
            return SecretSource(id=name, env=name)
        return SecretSource(id=name, path=name)
    return SecretSource(id=name, env=variable) if variable else SecretSource(id=name, path=path)


_SECRET_KEYS = ("id", "src", "env", "type")


def parse_ssh(text: str) -> SshSource:
    """`default`, `ID` (the agent's socket) or `ID=SOCKET|KEY[,KEY…]`."""
    name, equals, paths = text.partition("=")
    found = tuple(filter(None, paths.split(",")))
    if not name or (equals and not found):
        raise UsageError(f"invalid value {text!r} for --ssh", hint="--ssh default or --ssh ID=PATH")
    if any(path.startswith("raw=") for path in found):
        raise UsageError(f"invalid value {text!r} for --ssh: raw sockets are not supported")
    return SshSource(id=name, paths=found)


def parse_named_context(text: str) -> tuple[str, str]:
    """`NAME=PATH|URL|docker-image://…|oci-layout://…`; the name in its short form."""
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise UsageError(f"invalid value {text!r} for --build-context: expected NAME=PATH")
    base, colons, platform = name.partition("::")
    try:
        base = parse_reference(base).familiar.removesuffix(":latest")
    except UserError as problem:
        raise UsageError(f"invalid name in --build-context: {problem.message}") from None
    if value.startswith("target:"):
        raise UsageError("--build-context target:… is known to bake only")
    return f"{base}{colons}{platform}", value


def parse_tag(text: str) -> Reference:
    """`[registry/]repository[:tag]`, with `latest` where there is no tag."""
    try:
        reference = parse_reference(text)
    except UserError as problem:
        raise UsageError(f"invalid tag {text!r}: {problem.message}", hint=problem.hint) from None
    if reference.digest is not None:
        raise UsageError(
            f"invalid tag {text!r}: a digest cannot be chosen", hint="leave out what follows the @"
        )
    return reference.with_default_tag()


def parse_platforms(texts: Iterable[str], *, host: Platform) -> tuple[str, ...]:
    """Platforms as written, each once; a value may be a list with commas."""
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        try:
            parse_platform(name, host=host)
        except UserError as problem:
            raise UsageError(
                f"invalid value for --platform: {problem.message}", hint=problem.hint
            ) from None
    return tuple(dict.fromkeys(names))


def parse_ulimit(text: str) -> tuple[str, int, int]:
    """`NAME=SOFT[:HARD]`; -1 is unlimited."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise UsageError(f"invalid value {text!r} for --ulimit", hint="--ulimit nofile=1024:2048")
    choose("--ulimit", name, ULIMITS, what="limit")
    try:
        numbers = [int(part) for part in limits.split(":")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2 or min(numbers) < -1:
        raise UsageError(f"invalid value {text!r} for --ulimit", hint="--ulimit nofile=1024:2048")
    soft, hard = numbers[0], numbers[-1]
    if hard != -1 and (soft == -1 or soft > hard):
        raise UsageError(f"invalid value {text!r} for --ulimit: soft must not be above hard")
    return name, soft, hard


def parse_bytes(flag: str, text: str) -> int:
    """`64m`, `1g`, `1024`: a number of bytes, units being powers of 1024."""
    try:
        return parse_size(text)
    except ValueError as problem:
        raise UsageError(f"invalid value for {flag}: {problem}", hint=f"{flag} 64m") from None


def parse_host(text: str) -> tuple[tuple[str, str], ...]:
    """`HOST:IP` or `HOST=IP`, several with commas; `host-gateway` is this machine."""
    found: list[tuple[str, str]] = []
    for item in parse_fields("--add-host", text):
        name, separator, address = item.partition("=")
        if not separator:
            name, separator, address = item.partition(":")
        address = re.sub(r"^\[(.*)\]$", r"\1", address)
        if address == HOST_GATEWAY:
            address = LOOPBACK
        if not name or not _is_address(address):
            raise UsageError(f"invalid value {text!r} for --add-host", hint="--add-host HOST:IP")
        found.append((name, address))
    return tuple(found)


def _is_address(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_ANNOTATION_TYPE = re.compile(r"(?P<type>[a-z-]+)(?:\[(?P<platform>[A-Za-z0-9_/-]+)\])?")


def parse_annotation(text: str) -> tuple[str, str]:
    """`[TYPE[PLATFORM],…:]KEY=VALUE`; the name is returned as written, its types checked."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"invalid value {text!r} for --annotation", hint="--annotation KEY=VALUE")
    types, colon, _ = name.partition(":")
    for item in types.split(",") if colon else ():
        match = _ANNOTATION_TYPE.fullmatch(item)
        if match is None:
            raise UsageError(f"invalid type {item!r} in --annotation {text!r}")
        choose("--annotation", match["type"], ANNOTATED, what="type")
    return name, value


def parse_entitlement(text: str) -> str:
    """`network.host` and `buildx.local.delete`; the others are refused."""
    name = text.partition("=")[0]
    if name in ("security.insecure", "device"):
        raise UsageError(f"--allow {name} is not supported yet: every step runs confined")
    return choose("--allow", text, ("network.host", "buildx.local.delete"), what="entitlement")
