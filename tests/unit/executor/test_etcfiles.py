"""The /etc files of containers."""

from __future__ import annotations

from lamina.executor.etcfiles import hosts, transform
from lamina.executor.spec import Network

PUBLIC = (
    "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    "nameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n"
)


def test_hosts() -> None:
    """localhost in both families, then the hosts that were asked for, in order."""
    made = hosts("box", [("b", "10.0.0.2"), ("a", "::2")]).decode()
    assert made.splitlines() == [
        "127.0.0.1\tlocalhost box",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.0.0.2\tb",
        "::2\ta",
    ]
    assert hosts("", ()).startswith(b"127.0.0.1\tlocalhost buildkitsandbox\n")


def test_loopback_servers_serve_the_machines_network_alone() -> None:
    text = "nameserver 127.0.0.53\nnameserver 1.1.1.1\nnameserver ::1\n"
    assert transform(text, Network.NONE) == "nameserver 1.1.1.1\n"
    assert transform(text, Network.HOST) == text


def test_no_server_at_all() -> None:
    """Then there are the public ones, as in Docker."""
    assert transform("", Network.HOST) == PUBLIC
    assert transform("nameserver 127.0.0.1\n", Network.NONE) == PUBLIC
    assert transform("nameserver nonsense\n", Network.HOST) == PUBLIC


def test_other_directives() -> None:
    """The last search list counts, options add up, comments go, unknown lines stay."""
    text = (
        "# made by hand\n; so\ndomain old.example\nsearch a.example b.example\nsearch\n"
        "options ndots:2\noptions edns0 trust-ad\nsortlist 10.0.0.0\nnameserver 10.0.0.1\n"
    )
    assert transform(text, Network.HOST) == (
        "nameserver 10.0.0.1\nsearch a.example b.example\n"
        "options ndots:2 edns0 trust-ad\nsortlist 10.0.0.0\n"
    )
