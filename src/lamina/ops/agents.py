"""SSH agents: a step gets a socket that leads to one, and never a key."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import msgspec

from lamina.errors import UserError
from lamina.graph.mounts import SshMount
from lamina.ops.secrets import SecretNotFound


class Agents(msgspec.Struct, frozen=True):
    """The SSH agents of a build by id: the socket of one that runs, or keys for a new one."""

    sockets: Mapping[str, str]
    keys: Mapping[str, tuple[str, ...]]

    @contextmanager
    def socket(self, mount: SshMount) -> Iterator[str | None]:
        """A socket that leads to the agent, owned as the mount says, while the block lasts."""
        with self._agent(mount) as agent:
            if agent is None:
                yield None
                return
            with tempfile.TemporaryDirectory(prefix="lamina-ssh-") as directory:
                os.chmod(directory, 0o711)
                path = f"{directory}/agent"
                with _forwarding(path, agent):
                    os.chown(path, mount.uid, mount.gid)
                    os.chmod(path, mount.mode)
                    yield path

    @contextmanager
    def _agent(self, mount: SshMount) -> Iterator[str | None]:
        if mount.id in self.sockets:
            yield self.sockets[mount.id]
        elif mount.id in self.keys:
            with _agent_with(self.keys[mount.id]) as path:
                yield path
        elif mount.required:
            raise SecretNotFound(
                f"unset ssh forward key {mount.id}", hint=f"give it with --ssh {mount.id}"
            )
        else:
            yield None


@contextmanager
def _agent_with(keys: tuple[str, ...]) -> Iterator[str]:
    """An agent of its own that holds the keys."""
    with tempfile.TemporaryDirectory(prefix="lamina-agent-") as directory:
        path = f"{directory}/socket"
        try:
            agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
        except FileNotFoundError:
            raise UserError("--ssh with a key needs ssh-agent, which is not installed") from None
        try:
            for _ in range(200):
                if os.path.exists(path):
                    break
                threading.Event().wait(0.01)
            for key in keys:
                added = subprocess.run(
                    ["ssh-add", key],
                    env={**os.environ, "SSH_AUTH_SOCK": path, "SSH_ASKPASS_REQUIRE": "never"},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if added.returncode:
                    raise UserError(f"cannot load the SSH key {key}: {added.stderr.strip()}")
            yield path
        finally:
            agent.kill()
            agent.wait()


@contextmanager
def _forwarding(path: str, agent: str) -> Iterator[None]:
    """Listen at `path`, and pass every connection on to the agent."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        threading.Thread(target=_accept, args=(server, agent), daemon=True).start()
        try:
            yield
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, agent: str) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_pass_on, args=(client, agent), daemon=True).start()


def _pass_on(client: socket.socket, agent: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as upstream, suppress(OSError):
        upstream.connect(agent)
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, upstream)
            selector.register(upstream, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)
