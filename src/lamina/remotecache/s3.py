"""`type=s3`: the attributes of a cache in S3, or in a store that speaks its protocol.

Names, defaults and environment variables are those of Docker's reference, "Amazon S3 cache".
Credentials that are not given are looked for as obstore does: in the environment, a web identity, a
container's or a machine's role. Before that, in the shared credentials file of the AWS tools.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lamina.errors import UsageError
from lamina.notation.boolean import parse_bool
from lamina.notation.sizes import parse_duration
from lamina.registry.hosts import resolve_address
from lamina.remotecache.object_attributes import connection, document_names, positive
from lamina.remotecache.objects import ObjectCache, ObjectLayout, ObjectPlace

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ATTRIBUTES = frozenset(
    {
        "access_key_id",
        "blobs_prefix",
        "bucket",
        "disable_accept_encoding",
        "endpoint_url",
        "manifests_prefix",
        "name",
        "prefix",
        "region",
        "retry_max_attempts",
        "retry_mode",
        "secret_access_key",
        "session_token",
        "touch_refresh",
        "upload_parallelism",
        "use_path_style",
    }
)
_DAY = 24 * 3600.0
_RETRY_MODES = ("standard", "adaptive")
_ATTEMPTS = 5


def parse(attributes: Mapping[str, str], *, environ: Mapping[str, str]) -> ObjectCache:
    """The cache that the attributes describe. Raises UsageError; asks nobody."""
    bucket = attributes.get("bucket") or environ.get("AWS_BUCKET", "")
    if not bucket:
        raise UsageError("type=s3: the bucket is missing", hint="bucket=NAME, or $AWS_BUCKET")
    endpoint = _endpoint(attributes, environ)
    config: dict[str, Any] = {
        "region": _region(attributes, environ, endpoint),
        **_address(bucket, endpoint, path_style=_flag(attributes, "use_path_style")),
        **_credentials(attributes, environ),
    }
    _flag(attributes, "disable_accept_encoding")  # obstore does not sign that header
    mode = attributes.get("retry_mode", "standard")
    if mode not in _RETRY_MODES:
        raise UsageError(f"type=s3: unknown retry_mode {mode!r}", hint="standard or adaptive")
    attempts = positive("s3", attributes, "retry_max_attempts", default=_ATTEMPTS)

    layout, names = ObjectLayout.parse(attributes), document_names(attributes)

    def connect() -> ObjectStore:
        from obstore.store import S3Store

        return S3Store(bucket, config=config, **connection(endpoint, attempts=attempts))  # type: ignore[arg-type]

    return ObjectCache(
        ObjectPlace(
            address=f"s3://{bucket}/{layout.documents}{names[0]}",
            layout=layout,
            documents=names,
            open=connect,
            secrets=tuple(config.get(key, "") for key in ("secret_access_key", "session_token")),
            uploads=positive("s3", attributes, "upload_parallelism", default=4),
            touch_after=_touch_after(attributes),
        )
    )


def _endpoint(attributes: Mapping[str, str], environ: Mapping[str, str]) -> str:
    url = (
        attributes.get("endpoint_url")
        or environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL", "")
    )
    if url and not resolve_address("", url):
        raise UsageError(
            f"type=s3: endpoint_url is not an address: {url!r}", hint="https://HOST[:PORT]"
        )
    return url.rstrip("/")


def _region(attributes: Mapping[str, str], environ: Mapping[str, str], endpoint: str) -> str:
    region = (
        attributes.get("region")
        or environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION", "")
    )
    if not region and not endpoint:
        raise UsageError("type=s3: the region is missing", hint="region=NAME, or $AWS_REGION")
    return region or "us-east-1"  # what stores with an address of their own take


def _address(bucket: str, endpoint: str, *, path_style: bool) -> dict[str, Any]:
    """The bucket in the host's name, or in the path where it cannot be part of a name."""
    host = urlsplit(endpoint).hostname or ""
    if path_style or "." in bucket or host == "localhost" or _is_ip(host):
        place = {"endpoint": endpoint} if endpoint else {}
        return {"virtual_hosted_style_request": False, **place}
    if not endpoint:
        return {"virtual_hosted_style_request": True}
    parts = urlsplit(endpoint)
    return {
        "virtual_hosted_style_request": True,
        "endpoint": parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl(),
    }


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _credentials(attributes: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Those that are given, in the attributes or by name; {} leaves the search to obstore."""
    key, secret = attributes.get("access_key_id", ""), attributes.get("secret_access_key", "")
    token = attributes.get("session_token", "")
    if bool(key) != bool(secret):
        given, lacking = ("access_key_id", "secret_access_key")[:: 1 if key else -1]
        raise UsageError(f"type=s3: {given} is given, {lacking} is missing")
    if not key:
        key = environ.get("AWS_ACCESS_KEY_ID", "")
        secret = environ.get("AWS_SECRET_ACCESS_KEY", "")
        token = environ.get("AWS_SESSION_TOKEN", "")
    if not (key and secret):
        key, secret, token = _shared_file(environ)
    if not (key and secret):
        return {}
    found = {"access_key_id": key, "secret_access_key": secret}
    return {**found, "session_token": token} if token else found


def _shared_file(environ: Mapping[str, str]) -> tuple[str, str, str]:
    """The profile's keys in `~/.aws/credentials`; empty ones where there are none."""
    import configparser

    home = environ.get("HOME", "")
    path = environ.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(home, ".aws", "credentials")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
        section = parser[environ.get("AWS_PROFILE") or "default"]
    except (configparser.Error, KeyError, OSError, UnicodeError):
        return "", "", ""
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    key, secret, token = (section.get(name, "") for name in names)
    return key, secret, token


def _flag(attributes: Mapping[str, str], name: str) -> bool:
    value = parse_bool(attributes.get(name, "false"))
    if value is None:
        raise UsageError(
            f"type=s3: invalid {name} {attributes[name]!r}", hint=f"{name}=true or {name}=false"
        )
    return value


def _touch_after(attributes: Mapping[str, str]) -> float:
    text = attributes.get("touch_refresh")
    if text is None:
        return _DAY
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        raise UsageError(f"type=s3: touch_refresh: {error}", hint="touch_refresh=24h") from None
