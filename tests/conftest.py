"""Fixtures that every test may use; what they are made of lives in tests/support."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.bases import write_layout
from tests.support.buildah import Buildah, release, working_buildah
from tests.support.lamina import Lamina
from tests.support.registry import Registry, running_registry
from tests.support.users import OrdinaryUser, ordinary_user
from tools.bases import busybox_rootfs


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: workers that compress the same archive need not get the same bytes."""
    return argname if isinstance(val, bytes) else None


# A busy machine is no failure, and CI must not fail on one run in a thousand.
settings.register_profile(
    "lamina",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lamina")


@pytest.fixture(scope="session")
def busybox_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OCI layout of the small base image, made once a session."""
    layout = tmp_path_factory.mktemp("bases") / "busybox"
    write_layout(layout, busybox_rootfs())
    return layout


@pytest.fixture
def lamina(tmp_path: Path, busybox_image: Path) -> Lamina:
    """The command under test with an empty store; FROM busybox works in its builds."""
    return Lamina(store=tmp_path / "store", bases={"busybox": busybox_image})


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry over plain HTTP that lets everybody in; use a repository name of your own."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def guarded_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry over HTTPS that asks for the name and password of tests.support.registry."""
    with running_registry(tmp_path_factory.mktemp("guarded"), login=True, tls=True) as running:
        yield running


@pytest.fixture(scope="session")
def user() -> Iterator[OrdinaryUser]:
    """An ordinary user with 65536 subordinate ids."""
    with ordinary_user("many", subordinate_ids=True) as made:
        yield made


@pytest.fixture(scope="session")
def lone_user() -> Iterator[OrdinaryUser]:
    """An ordinary user with no subordinate ids: one user id is all there is."""
    with ordinary_user("lone", subordinate_ids=False) as made:
        yield made


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory, busybox_image: Path) -> Iterator[Buildah]:
    """Buildah in the way that works on this machine; it knows the same busybox."""
    state = tmp_path_factory.mktemp("buildah")
    yield working_buildah(state, {"busybox": busybox_image})
    release(state)
