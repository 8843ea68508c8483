"""Values of `--cache-from` and `--cache-to`, as buildx reads them."""

from __future__ import annotations

from lamina.cli.key_values import choose, parse_fields, parse_options
from lamina.control.request import CacheRequest
from lamina.errors import UsageError

TYPES = ("registry", "local", "inline", "s3", "gs", "azblob", "gha")
_SWITCHES = ("background", "read-only", "reset")


def parse_caches(name: str, text: str) -> tuple[CacheRequest, ...]:
    """`type=TYPE,KEY=VALUE…`, or names of images, which are caches in registries.

    `name` is the flag's. Raises UsageError.
    """
    flag = f"--{name.replace('_', '-')}"
    fields = parse_fields(flag, text)
    if all("=" not in field and field not in _SWITCHES for field in fields[:1]):
        return tuple(_bare(flag, fields))
    attributes: dict[str, str] = {}
    for key, value in parse_options(flag, text):
        if value is None and key not in _SWITCHES:
            raise UsageError(f"invalid value {text!r} for {flag}: {key!r} has no value")
        attributes[key] = "true" if value is None else value
    kind = attributes.pop("type", "")
    if not kind:
        raise UsageError(
            f"invalid value {text!r} for {flag}: type is required",
            hint=f"write type=…, one of {', '.join(TYPES)}",
        )
    choose(flag, kind, TYPES, what="type")
    return (CacheRequest(type=kind, attributes=attributes),)


def _bare(flag: str, fields: tuple[str, ...]) -> list[CacheRequest]:
    """Names alone, each a cache in a registry."""
    names = [field for field in fields if "=" not in field and field not in _SWITCHES]
    if len(names) == len(fields):
        return [CacheRequest(type="registry", attributes={"ref": name}) for name in names]
    raise UsageError(
        f"{flag}: {','.join(fields)!r} has a name and keys", hint="write type=registry,ref=NAME,…"
    )
