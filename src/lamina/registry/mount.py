"""A blob taken over from another repository of the same registry, without its bytes being at hand
(OCI distribution spec, "Mounting a blob from another repository").
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from urllib.parse import urlencode, urljoin

import msgspec

from lamina.errors import RemoteError
from lamina.oci.descriptor import Descriptor
from lamina.registry.client import RegistryClient
from lamina.registry.hosts import Place
from lamina.registry.message import PUSH, Request

_CREATED = 201


class Loan(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the blob was lent; if not, the address of the upload that the registry began in its
    place, if it began one."""

    lent: bool
    upload: str = ""


def borrow_blob(client: RegistryClient, place: Place, descriptor: Descriptor, lender: str) -> Loan:
    """Asks the registry to take a blob over from the repository `lender`.

    Whoever may not read that, and a registry that does not know of lending, lends nothing. Raises
    RemoteError for failures that have nothing to do with it.
    """
    query = urlencode({"mount": descriptor.digest, "from": lender})
    request = Request(
        place=place,
        tail=f"blobs/uploads/?{query}",
        name=f"{place}@{descriptor.digest}",
        method="POST",
        body=b"",
        actions=PUSH,
        lenders=(lender,),
    )
    try:
        with client.insist(request) as answer:
            address = answer.header("Location")
            return Loan(
                lent=answer.status == _CREATED,
                upload=urljoin(answer.url, address) if address else "",
            )
    except RemoteError as error:
        if error.retryable:
            raise
        return Loan(lent=False)


def mount_blob(
    client: RegistryClient, place: Place, descriptor: Descriptor, lenders: Sequence[str]
) -> bool:
    """Takes a blob over from the first of `lenders` that has it, and begins no upload."""
    for lender in lenders:
        loan = borrow_blob(client, place, descriptor, lender)
        if loan.lent:
            return True
        if loan.upload:
            _give_up(client, place, loan.upload)
    return False


def _give_up(client: RegistryClient, place: Place, upload: str) -> None:
    """Registries forget uploads by themselves, but not soon."""
    request = Request(place=place, tail=upload, name=str(place), method="DELETE", actions=PUSH)
    with contextlib.suppress(RemoteError):
        client.ask(request).close()
