"""How an ordinary user's ids are found, and what is said where there is no way."""

from __future__ import annotations

import pytest

from lamina.executor.userns import Range, obstacle, subordinate


def test_ranges_of_a_user() -> None:
    """Ranges by name and by number follow one another from id 1 on; others do not count."""
    text = "bob:100000:65536\nann:1:2\n# bob:5:5\n1000:300000:10\nbob:x:1\nbob:7:0\n"
    assert subordinate(text, name="bob", uid=1000) == (
        Range(inside=1, outside=100000, count=65536),
        Range(inside=65537, outside=300000, count=10),
    )
    assert subordinate(text, name="eve", uid=7) == ()


@pytest.mark.parametrize(
    ("path", "content", "setting"),
    [
        ("/proc/sys/user/max_user_namespaces", "0\n", "user.max_user_namespaces=15000"),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0\n",
            "kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1\n",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("/proc/self/status", "Name:\tx\nSeccomp:\t2\n", "seccomp=unconfined"),
        ("/nothing", "", "Run as root"),
    ],
)
def test_obstacle(path: str, content: str, setting: str) -> None:
    """The hint names the one setting that is in the way."""
    assert setting in obstacle(lambda asked: content if asked == path else "")
