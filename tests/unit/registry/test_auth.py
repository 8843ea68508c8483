"""What tokens are asked for."""

from __future__ import annotations

import pytest

from lamina.registry.auth import Scope


@pytest.mark.parametrize(
    ("scope", "demanded", "texts"),
    [
        (Scope(path="a/b"), "", ("repository:a/b:pull",)),
        (Scope(path="a/b"), "repository:a/b:pull", ("repository:a/b:pull",)),
        (Scope(path="a"), "repository:a:pull,push", ("repository:a:pull,push",)),
        (
            Scope(path="a", actions=("pull", "push"), lenders=("b",)),
            "repository:a:pull",
            ("repository:a:pull,push", "repository:b:pull"),
        ),
        (Scope(path="a", lenders=("a",)), "", ("repository:a:pull",)),
        (
            Scope(path="a", actions=("delete",)),
            "repository:a:* registry:catalog:*",
            ("repository:a:delete,*", "registry:catalog:*"),
        ),
        (Scope(path=""), "", ()),
    ],
)
def test_scopes_are_joined(scope: Scope, demanded: str, texts: tuple[str, ...]) -> None:
    """Ours with the registry's, each repository once, each action once."""
    assert scope.texts(demanded) == texts
