from __future__ import annotations

import pytest

from lamina.cli.attestations import parse_attestations
from lamina.control.request import ProvenanceRequest
from lamina.errors import UsageError


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--provenance", "false"),
        ("--provenance", "0"),
        ("--provenance", "disabled=true"),
        ("--sbom", "false"),
        ("--attest", "type=provenance,disabled=true"),
        ("--attest", "type=sbom,disabled=true"),
    ],
)
def test_what_is_switched_off_is_not_made(flag: str, text: str) -> None:
    """Also an SBOM: that there is none is what happens anyway."""
    assert parse_attestations([(flag, text)]) is None


@pytest.mark.parametrize(
    ("flag", "text", "expected"),
    [
        ("--provenance", "true", ProvenanceRequest()),
        ("--provenance", "mode=min", ProvenanceRequest(maximal=False)),
        ("--attest", "type=provenance", ProvenanceRequest()),
        ("--attest", "type=provenance,mode=full", ProvenanceRequest()),
        ("--attest", "type=provenance,version=v0.2", ProvenanceRequest(version="v0.2")),
        ("--attest", "type=provenance,disabled=false", ProvenanceRequest()),
        ("--provenance", "builder-id=https://ci/7", ProvenanceRequest(builder_id="https://ci/7")),
        ("--provenance", "reproducible=true", ProvenanceRequest(reproducible=True)),
        ("--provenance", "inline-only=1", ProvenanceRequest(inline_only=True)),
        ("--provenance", "filename=../../p.json", ProvenanceRequest(filename="p.json")),
    ],
)
def test_provenance(flag: str, text: str, expected: ProvenanceRequest) -> None:
    """BuildKit's keys; without a mode it is the fullest; a file name leads nowhere else."""
    assert parse_attestations([(flag, text)]) == expected


def test_the_last_of_a_type_counts() -> None:
    """Switched off last, it is off; each type by itself."""
    maximal = ("--attest", "type=provenance,mode=max")
    assert parse_attestations([("--provenance", "mode=min"), maximal]) == ProvenanceRequest()
    assert parse_attestations([maximal, ("--provenance", "false")]) is None
    assert parse_attestations([maximal, ("--sbom", "false")]) == ProvenanceRequest()


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("--sbom", "true", "SBOM"),
        ("--sbom", "generator=x", "SBOM"),
        ("--attest", "type=sbom", "SBOM"),
        ("--attest", "type=sbon,disabled=true", "unknown type"),
        ("--attest", "mode=max", "unknown type"),
        ("--attest", "type=provenance,mode=most", "unknown mode"),
        ("--attest", "type=provenance,version=v2", "unknown version"),
        ("--attest", "type=provenance,moed=max", "unknown key"),
        ("--provenance", "yes", "key=value"),
        ("--provenance", "reproducible=maybe", "true or false"),
        ("--provenance", "filename=..", "invalid filename"),
        ("--provenance", "capture-usage=true", "not supported"),
        ("--provenance", "complete-materials=true", "context"),
    ],
)
def test_what_cannot_be_made_is_refused(flag: str, text: str, said: str) -> None:
    """An image without the attestation that was asked for is not what was asked for."""
    with pytest.raises(UsageError) as refused:
        parse_attestations([(flag, text)])
    assert said in refused.value.message + (refused.value.hint or "")
