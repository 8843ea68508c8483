"""Signed caches: what is believed, and what is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from lamina.cachekey.key import Part
from lamina.errors import UserError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.remotecache.document import (
    CachedLayer,
    CachedMemo,
    CacheDocument,
    CachedStep,
    MountState,
)
from lamina.remotecache.encoding import decode, encode
from lamina.remotecache.merging import merge
from lamina.remotecache.signing import load_signing_key, load_trusted_keys, signed, verified


def keys(folder: Path, name: str = "key", algorithm: str = "ed25519") -> tuple[str, str]:
    """The paths of a private and a public key, made as users make them."""
    private, public = str(folder / f"{name}.pem"), str(folder / f"{name}.pub")
    more = ["-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "rsa" else []
    command = ["openssl", "genpkey", "-algorithm", algorithm, *more, "-out", private]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def blob(name: str) -> Descriptor:
    return Descriptor(media_type="application/x", digest=digest_of(name.encode()), size=3)


def layer(name: str) -> CachedLayer:
    return CachedLayer(
        id=digest_of(b"id" + name.encode()),
        diff_id=digest_of(b"diff" + name.encode()),
        blob=blob(name),
    )


def step(name: str, *places: int) -> CachedStep:
    return CachedStep(
        key=digest_of(name.encode()),
        locus="stage/1",
        name=f"RUN {name}",
        parts=(Part("command", name),),
        layers=places,
        seconds=1.5,
        created=100.0,
        used=200.0,
    )


DOCUMENT = CacheDocument(
    layers=(layer("a"), layer("b")),
    steps=(step("one", 0), step("two", 0, 1)),
    memos=(CachedMemo("copy", b"k", b"v"), CachedMemo("bind", b"k", b"w")),
    mounts=(
        MountState(
            id="apt", platform="linux/amd64", manifest=blob("m"), packs=(blob("p"),), saved=5
        ),
    ),
)


def test_what_was_signed_is_believed(tmp_path: Path) -> None:
    """Also after the way through a file, and with another key beside the right one."""
    private, public = keys(tmp_path)
    _, other = keys(tmp_path, "other")
    made = decode(encode(signed(DOCUMENT, load_signing_key(private))), subject="x")
    for paths in (public, f"{other};{public}"):
        found, dropped = verified(made, load_trusted_keys(paths))
        assert dropped == 0
        assert [replace(each, signature="") for each in found.steps] == list(DOCUMENT.steps)
        assert [replace(each, signature="") for each in found.mounts] == list(DOCUMENT.mounts)
        assert found.memos == DOCUMENT.memos
        assert found.layers == DOCUMENT.layers


def test_what_was_not_signed_is_left_out_and_counted(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    _, other = keys(tmp_path, "other")
    nothing = CacheDocument()
    assert verified(DOCUMENT, load_trusted_keys(other)) == (nothing, 3)
    made = signed(DOCUMENT, load_signing_key(private))
    assert verified(made, load_trusted_keys(other)) == (nothing, 3)


ONE, TWO = DOCUMENT.steps


@pytest.mark.parametrize(
    "forge",
    [
        lambda d: replace(d, layers=(d.layers[0], replace(d.layers[1], blob=blob("evil")))),
        lambda d: replace(d, layers=(d.layers[0], replace(d.layers[1], diff_id=blob("x").digest))),
        lambda d: replace(d, layers=(d.layers[0], replace(d.layers[1], id=blob("x").digest))),
        lambda d: replace(d, layers=(d.layers[0], replace(d.layers[1], base="evil.example/x"))),
        lambda d: replace(d, steps=(d.steps[0], replace(d.steps[1], key=blob("x").digest))),
        lambda d: replace(d, steps=(d.steps[0], replace(d.steps[1], name="RUN true"))),
        lambda d: replace(d, steps=(d.steps[0], replace(d.steps[1], parts=()))),
        lambda d: replace(d, steps=(d.steps[0], replace(d.steps[1], layers=(0,)))),
        lambda d: replace(d, steps=(d.steps[0], replace(d.steps[1], layers=(1, 0)))),
        lambda d: replace(d, steps=(d.steps[0], replace(d.steps[1], signature="?"))),
        lambda d: replace(
            d, steps=(d.steps[0], replace(d.steps[1], signature=d.steps[0].signature))
        ),
    ],
)
def test_neither_a_record_nor_its_layers_can_be_exchanged(tmp_path: Path, forge: object) -> None:
    """The forged record goes; the other one, which was signed too, stays."""
    private, public = keys(tmp_path)
    made = signed(DOCUMENT, load_signing_key(private))
    assert callable(forge)
    found, dropped = verified(forge(made), load_trusted_keys(public))
    assert [each.name for each in found.steps] == ["RUN one"]
    assert dropped == 1
    assert found.layers == (layer("a"),)


def test_cache_mounts_and_memos_cannot_be_exchanged(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    made = signed(DOCUMENT, load_signing_key(private))
    mounts = (replace(made.mounts[0], packs=(blob("evil"),)),)
    found, dropped = verified(replace(made, mounts=mounts), load_trusted_keys(public))
    assert (found.mounts, dropped) == ((), 1)
    memos = (CachedMemo("copy", b"k", b"evil"), *made.memos[1:])
    found, dropped = verified(replace(made, memos=memos), load_trusted_keys(public))
    assert (found.memos, dropped) == ((), 0)
    assert len(found.steps) == 2


def test_what_may_change_does_not_break_a_signature(tmp_path: Path) -> None:
    """When it was last used, and the order of a document that was pruned or merged."""
    private, public = keys(tmp_path)
    made = signed(DOCUMENT, load_signing_key(private))
    used = replace(made, steps=tuple(replace(each, used=999.0) for each in made.steps))
    ahead = CacheDocument(layers=(layer("z"),), steps=(step("three", 0),))
    merged = merge([signed(ahead, load_signing_key(private)), used])
    found, dropped = verified(replace(merged, memos=made.memos[::-1]), load_trusted_keys(public))
    assert (len(found.steps), dropped, len(found.memos)) == (3, 0, 2)


def test_a_document_is_signed_anew_as_a_whole(tmp_path: Path) -> None:
    """Whoever signs last is the one to believe."""
    first, _ = keys(tmp_path, "first")
    second, public = keys(tmp_path, "second")
    made = signed(signed(DOCUMENT, load_signing_key(first)), load_signing_key(second))
    found, dropped = verified(made, load_trusted_keys(public))
    assert (len(found.steps), dropped, found.memos) == (2, 0, DOCUMENT.memos)


def test_wrong_keys_are_said(tmp_path: Path) -> None:
    """A missing file, no key, one of another kind, the public one where the private one belongs."""
    private, public = keys(tmp_path)
    rsa, rsa_public = keys(tmp_path, "rsa", "rsa")
    (tmp_path / "junk").write_bytes(b"junk\xff")
    junk, missing = str(tmp_path / "junk"), str(tmp_path / "missing")
    for path in (missing, junk, rsa, public):
        with pytest.raises(UserError, match=path):
            load_signing_key(path)
    for path in (missing, junk, rsa_public, private):
        with pytest.raises(UserError, match=path):
            load_trusted_keys(path)
    locked = str(tmp_path / "locked")
    command = ["openssl", "pkey", "-in", private, "-aes256", "-passout", "pass:x", "-out", locked]
    subprocess.run(command, check=True)
    with pytest.raises(UserError, match="encrypted"):
        load_signing_key(locked)
