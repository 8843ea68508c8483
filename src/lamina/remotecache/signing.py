"""Signed caches: who may say what a step made.

A digest protects a blob, and nothing protects the sentence "the step with this key made these
layers": whoever may write to a cache may say it of any key. With `sign=KEY` a writer signs
what it says, and with `verify=KEY` a reader believes only those.

    step     key, name, parts, and of every layer its id, diff ID and blob
    mount    id, platform, the digests of its manifest and packs
    memos    all of a document together, in a memo of the kind `signature`

What is not signed is what may change without changing what is said: when a step was last used, and
where a layer stands in the document. A record can be left out, then, but neither it nor its layers
can be exchanged. An old record can be shown again: it was true when it was signed.

Keys are PEM files with Ed25519 keys (RFC 8410), as `openssl genpkey -algorithm ed25519` makes them.
Signatures are in base64. A document is signed as a whole only once it is written, so whoever signs
what was merged must have verified all of it before.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from lamina.errors import UserError
from lamina.oci.descriptor import Descriptor
from lamina.remotecache.document import CachedMemo, CacheDocument, CachedStep, MountState
from lamina.remotecache.merging import pruned

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

MEMO_KIND = "signature"
_MAX_KEY_FILE = 64 << 10  # bytes
_HOW = "openssl genpkey -algorithm ed25519 -out KEY; openssl pkey -in KEY -pubout -out PUBLIC"


def load_signing_key(path: str) -> Ed25519PrivateKey:
    """The private key in a PEM file. Raises UserError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise UserError(
            f"sign={path}: the key is encrypted", hint="give a key without a password"
        ) from None
    except (ValueError, _unsupported()):
        raise UserError(f"sign={path}: not a private key in PEM", hint=_HOW) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"sign={path}: the key is of another kind than Ed25519", hint=_HOW)
    return key


def load_trusted_keys(paths: str) -> tuple[Ed25519PublicKey, ...]:
    """The public keys in PEM files, whose paths are separated by `;`. Raises UserError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys = []
    for path in filter(None, paths.split(";")):
        try:
            key = load_pem_public_key(_read(path))
        except (ValueError, _unsupported()):
            raise UserError(f"verify={path}: not a public key in PEM", hint=_HOW) from None
        if not isinstance(key, Ed25519PublicKey):
            raise UserError(f"verify={path}: the key is of another kind than Ed25519", hint=_HOW)
        keys.append(key)
    return tuple(keys)


def signed(document: CacheDocument, key: Ed25519PrivateKey) -> CacheDocument:
    """The document with this key's signatures, whoever signed it before."""
    memos = _plain_memos(document)
    return replace(
        document,
        steps=tuple(
            replace(step, signature=_text(key.sign(_of_step(document, step))))
            for step in document.steps
        ),
        mounts=tuple(
            replace(state, signature=_text(key.sign(_of_mount(state)))) for state in document.mounts
        ),
        memos=(*memos, CachedMemo(MEMO_KIND, b"", key.sign(_of_memos(memos)))) if memos else (),
    )


def verified(
    document: CacheDocument, keys: Sequence[Ed25519PublicKey]
) -> tuple[CacheDocument, int]:
    """What one of the keys has signed, and how many steps and cache mounts are left out.

    Memos are all left out where their signature is not right; they are not counted.
    """
    steps = tuple(
        step
        for step in document.steps
        if _is_signed(_of_step(document, step), _bytes(step.signature), keys)
    )
    mounts = tuple(
        state
        for state in document.mounts
        if _is_signed(_of_mount(state), _bytes(state.signature), keys)
    )
    memos = _plain_memos(document)
    signatures = [memo.value for memo in document.memos if memo.kind == MEMO_KIND]
    if not any(_is_signed(_of_memos(memos), each, keys) for each in signatures[:1]):
        memos = ()
    dropped = len(document.steps) - len(steps) + len(document.mounts) - len(mounts)
    return pruned(replace(document, steps=steps, mounts=mounts, memos=memos)), dropped


def _of_step(document: CacheDocument, step: CachedStep) -> bytes:
    layers = [document.layers[place] for place in step.layers]
    said = (
        step.key,
        step.locus,
        step.name,
        step.parts,
        [(each.id, each.diff_id, _of_blob(each.blob), each.base) for each in layers],
    )
    return b"lamina step 1\n" + msgspec.msgpack.encode(said)


def _of_mount(state: MountState) -> bytes:
    packs = [_of_blob(pack) for pack in state.packs]
    said = (state.id, state.platform, _of_blob(state.manifest), packs, float(state.saved))
    return b"lamina mount 1\n" + msgspec.msgpack.encode(said)


def _of_memos(memos: Sequence[CachedMemo]) -> bytes:
    ordered = sorted((memo.kind, memo.key, memo.value) for memo in memos)
    return b"lamina memos 1\n" + msgspec.msgpack.encode(ordered)


def _of_blob(blob: Descriptor | None) -> tuple[str, str, int] | None:
    return None if blob is None else (blob.media_type, blob.digest, blob.size)


def _plain_memos(document: CacheDocument) -> tuple[CachedMemo, ...]:
    return tuple(memo for memo in document.memos if memo.kind != MEMO_KIND)


def _is_signed(data: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey]) -> bool:
    from cryptography.exceptions import InvalidSignature

    for key in keys:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            continue
        return True
    return False


def _text(signature: bytes) -> str:
    return base64.b64encode(signature).decode()


def _bytes(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_KEY_FILE)
    except OSError as error:
        raise UserError(f"the key {path} cannot be read: {error.strerror}") from error


def _unsupported() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm

    return UnsupportedAlgorithm
