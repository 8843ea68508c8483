"""Mirrors, other places and insecure registries: containers-registries.conf(5), version 2.

    [[registry]]
    prefix = "docker.io/library"          # the longest that fits decides; "*.example.com" for hosts
    location = "mirror.example/library"   # stands in the place of the prefix
    insecure = false                      # no verified certificate, even no TLS
    blocked = false
      [[registry.mirror]]                 # asked before the location, in this order
      location = "localhost:5000/library"
      insecure = true
      pull-from-mirror = "digest-only"    # or "tag-only", "all"

The file is $CONTAINERS_REGISTRIES_CONF, else ~/.config/containers/registries.conf, else
/etc/containers/registries.conf. Then every `registries.conf.d/*.conf` of /etc/containers and of
~/.config/containers is read; a later table replaces an earlier one with the same prefix. Short
names are Docker Hub's: what the file says of them does not count here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from lamina.errors import UserError
from lamina.oci.reference import Reference, parse_reference
from lamina.registry.hosts import Place

_MAX_FILE = 4 << 20


class Mirror(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """A place that holds copies."""

    location: str
    insecure: bool = False
    pull_from_mirror: Literal["all", "digest-only", "tag-only"] | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What holds for the repositories below a prefix. `file` is where it stands."""

    prefix: str = ""
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirror: tuple[Mirror, ...] = ()
    mirror_by_digest_only: bool = False
    file: str = ""

    def fits(self, reference: Reference) -> int | None:
        """How long a beginning of the full name this rule is for, None if it is not for it."""
        name = str(reference)
        if self.prefix.startswith("*."):
            fits = reference.domain.endswith(self.prefix[1:])
            return len(reference.domain) if fits else None
        fits = name.startswith(self.prefix) and name[len(self.prefix) :][:1] in ("", "/", ":", "@")
        return len(self.prefix) if fits else None


class _File(msgspec.Struct, frozen=True):
    registry: tuple[Rule, ...] = ()


class Registries(msgspec.Struct, frozen=True, kw_only=True):
    """All rules, by prefix."""

    rules: Mapping[str, Rule] = {}

    def to_read(self, reference: Reference) -> tuple[Place, ...]:
        """Where to read a repository from, in order. Raises UserError for a blocked one."""
        rule, length = self._rule(reference)
        if rule is None:
            return (Place(domain=reference.domain, path=reference.path),)
        mirrors = [
            _place(reference, mirror.location, length, mirror.insecure, rule)
            for mirror in rule.mirror
            if _may_serve(mirror, rule, reference)
        ]
        return (*mirrors, _place(reference, rule.location, length, rule.insecure, rule))

    def to_write(self, reference: Reference) -> Place:
        """Where to push to, which is never a mirror. Raises UserError for a blocked one."""
        rule, length = self._rule(reference)
        if rule is None:
            return Place(domain=reference.domain, path=reference.path)
        return _place(reference, rule.location, length, rule.insecure, rule)

    def _rule(self, reference: Reference) -> tuple[Rule | None, int]:
        """The rule with the longest prefix. A `*.` counts as written, so any other beats it."""
        best: tuple[Rule | None, int] = (None, 0)
        for rule in self.rules.values():
            length = rule.fits(reference)
            if length is not None and (best[0] is None or len(rule.prefix) > len(best[0].prefix)):
                best = (rule, length)
        if best[0] is not None and best[0].blocked:
            raise UserError(f"{reference}: {best[0].file} blocks {best[0].prefix}")
        return best


def _may_serve(mirror: Mirror, rule: Rule, reference: Reference) -> bool:
    kind = mirror.pull_from_mirror or ("digest-only" if rule.mirror_by_digest_only else "all")
    return kind == "all" or (kind == "digest-only") == (reference.digest is not None)


def _place(reference: Reference, location: str, length: int, insecure: bool, rule: Rule) -> Place:
    """`location` in the place of the first `length` letters of the full name."""
    if not location:
        return Place(domain=reference.domain, path=reference.path, insecure=insecure)
    try:
        moved = parse_reference(f"{location}{str(reference)[length:]}")
    except UserError as error:
        raise UserError(f"{rule.file}: {location!r} for {rule.prefix}: {error.message}") from None
    if moved.domain != location.partition("/")[0]:
        raise UserError(
            f"{rule.file}: {location!r} for {rule.prefix} does not begin with a host",
            hint="a host has a dot or a port in its name, or is localhost",
        )
    return Place(domain=moved.domain, path=moved.path, insecure=insecure)


def load_registries(environ: Mapping[str, str], *, system: str = "/etc") -> Registries:
    """Reads every file. Raises UserError, naming the file, for one that is not right."""
    rules: dict[str, Rule] = {}
    for path in _paths(environ, system):
        rules |= {rule.prefix: rule for rule in _load(path)}
    return Registries(rules=rules)


def _paths(environ: Mapping[str, str], system: str) -> Iterator[str]:
    home = environ.get("HOME", "")
    config = environ.get("XDG_CONFIG_HOME") or (home and os.path.join(home, ".config"))
    folders = [os.path.join(root, "containers") for root in (system, config) if root]
    if chosen := environ.get("CONTAINERS_REGISTRIES_CONF"):
        yield chosen
    else:
        files = [os.path.join(folder, "registries.conf") for folder in reversed(folders)]
        yield from [path for path in files if os.path.exists(path)][:1]
    for folder in folders:
        drops = os.path.join(folder, "registries.conf.d")
        if os.path.isdir(drops):
            yield from (
                os.path.join(drops, name)
                for name in sorted(os.listdir(drops))
                if name.endswith(".conf")
            )


def _load(path: str) -> Iterator[Rule]:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE).decode()
        document = msgspec.convert(tomllib.loads(text), type=_File)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise UserError(
            f"{path} is not a valid registries.conf: {error}",
            hint="its form is described in containers-registries.conf(5)",
        ) from None
    return (_checked(rule, path) for rule in document.registry)


def _checked(rule: Rule, path: str) -> Rule:
    prefix, location = _name(rule.prefix, path), _name(rule.location, path)
    if not prefix and not location:
        raise UserError(f"{path}: a [[registry]] has neither a prefix nor a location")
    if not location and prefix and not prefix.startswith("*."):
        raise UserError(f"{path}: the [[registry]] with the prefix {prefix} has no location")
    mirrors = tuple(
        msgspec.structs.replace(mirror, location=_name(mirror.location, path))
        for mirror in rule.mirror
    )
    if not all(mirror.location for mirror in mirrors):
        raise UserError(f"{path}: a [[registry.mirror]] of {prefix or location} has no location")
    if rule.mirror_by_digest_only and any(mirror.pull_from_mirror for mirror in mirrors):
        raise UserError(
            f"{path}: {prefix or location} has both mirror-by-digest-only and pull-from-mirror"
        )
    return msgspec.structs.replace(
        rule, prefix=prefix or location, location=location, mirror=mirrors, file=path
    )


def _name(text: str, path: str) -> str:
    if "://" in text:
        raise UserError(f"{path}: {text!r} is an address where only a name can stand")
    return text.rstrip("/")
