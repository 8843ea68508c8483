"""`type=gs`: the attributes of a cache in Google Cloud Storage.

Docker has no such type; the names follow its `s3`. Credentials that are not given are looked for
as Google's own tools do: GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, the machine's account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lamina.errors import UsageError
from lamina.registry.hosts import resolve_address
from lamina.remotecache.object_attributes import connection, document_names, positive
from lamina.remotecache.objects import ObjectCache, ObjectLayout, ObjectPlace

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ATTRIBUTES = frozenset(
    {
        "blobs_prefix",
        "bucket",
        "endpoint_url",
        "manifests_prefix",
        "name",
        "prefix",
        "retry_max_attempts",
        "service_account",
        "upload_parallelism",
    }
)


def parse(attributes: Mapping[str, str], *, environ: Mapping[str, str]) -> ObjectCache:
    """The cache that the attributes describe. `service_account` is the path of a key in JSON; an
    `endpoint_url` gets no credentials but those. Raises UsageError; asks nobody.
    """
    bucket = attributes.get("bucket") or environ.get("GOOGLE_BUCKET", "")
    if not bucket:
        raise UsageError("type=gs: the bucket is missing", hint="bucket=NAME, or $GOOGLE_BUCKET")
    endpoint = attributes.get("endpoint_url", "").rstrip("/")
    if endpoint and not resolve_address("", endpoint):
        raise UsageError(f"type=gs: endpoint_url is not an address: {endpoint!r}")
    config: dict[str, Any] = {}
    attempts = positive("gs", attributes, "retry_max_attempts", default=5)
    more = connection(endpoint, attempts=attempts)
    if account := attributes.get("service_account"):
        config["service_account"] = account
    elif endpoint:
        # With `skip_signature`, obstore still looks for a token to write with.
        more["credential_provider"] = lambda: {"token": "none", "expires_at": None}
    if endpoint:
        config["base_url"] = endpoint
    layout, names = ObjectLayout.parse(attributes), document_names(attributes)

    def connect() -> ObjectStore:
        from obstore.store import GCSStore

        return GCSStore(bucket, config=config, **more)  # type: ignore[arg-type]

    return ObjectCache(
        ObjectPlace(
            address=f"gs://{bucket}/{layout.documents}{names[0]}",
            layout=layout,
            documents=names,
            open=connect,
            uploads=positive("gs", attributes, "upload_parallelism", default=4),
        )
    )
