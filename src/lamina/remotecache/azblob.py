"""`type=azblob`: the attributes of a cache in Azure Blob Storage.

Names, defaults and environment variables are those of Docker's reference, "Azure Blob Storage
cache". Without `secret_access_key`, credentials are looked for as obstore does: AZURE_* variables,
a workload's or a machine's identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lamina.errors import UsageError
from lamina.registry.hosts import resolve_address
from lamina.remotecache.object_attributes import connection, document_names, positive
from lamina.remotecache.objects import ObjectCache, ObjectLayout, ObjectPlace

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ATTRIBUTES = frozenset(
    {
        "account_name",
        "account_url",
        "blobs_prefix",
        "container",
        "manifests_prefix",
        "name",
        "prefix",
        "retry_max_attempts",
        "secret_access_key",
        "upload_parallelism",
    }
)
_ENVIRONMENT = "BUILDKIT_AZURE_STORAGE_"
_ATTEMPTS = 5


def parse(attributes: Mapping[str, str], *, environ: Mapping[str, str]) -> ObjectCache:
    """The cache that the attributes describe. Raises UsageError; asks nobody."""

    def given(name: str, default: str = "") -> str:
        variable = _ENVIRONMENT + name.upper()
        return attributes.get(name) or environ.get(variable) or default

    url = given("account_url").rstrip("/")
    if not resolve_address("", url) or "?" in url or "@" in url:
        raise UsageError(
            "type=azblob: account_url is missing, or not the mere address of an account",
            hint="account_url=https://ACCOUNT.blob.core.windows.net, and secret_access_key=KEY",
        )
    host = urlsplit(url).hostname or ""
    container = given("container", "buildkit-cache")
    secret = attributes.get("secret_access_key", "")
    config: dict[str, Any] = {
        "account_name": given("account_name", host.partition(".")[0]),
        "endpoint": url,
    }
    if secret:
        config["account_key"] = secret
    attempts = positive("azblob", attributes, "retry_max_attempts", default=_ATTEMPTS)

    layout, names = _layout(attributes, prefix=given("prefix")), document_names(attributes)

    def connect() -> ObjectStore:
        from obstore.store import AzureStore

        return AzureStore(container, config=config, **connection(url, attempts=attempts))  # type: ignore[arg-type]

    return ObjectCache(
        ObjectPlace(
            address=f"{url}/{container}/{layout.documents}{names[0]}",
            layout=layout,
            documents=names,
            open=connect,
            secrets=(secret,),
            uploads=positive("azblob", attributes, "upload_parallelism", default=4),
        )
    )


def _layout(attributes: Mapping[str, str], *, prefix: str) -> ObjectLayout:
    """Here the parts are names of folders, joined with slashes."""

    def folder(name: str, default: str) -> str:
        parts = (prefix, attributes.get(name, default))
        return "".join(f"{part.strip('/')}/" for part in parts if part.strip("/"))

    return ObjectLayout(
        documents=folder("manifests_prefix", "manifests"), blobs=folder("blobs_prefix", "blobs")
    )
