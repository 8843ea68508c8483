"""The cache mounts that the guides recommend for eight package managers, with the real ones.

Every project is built, gets one dependency more, and is built again: the second build fetches that
one alone. The same without the cache mounts fetches both, so the mounts are what spared it.
Packages come from the registries that this machine reaches (npm, Debian) or from a folder that
serves as one. There is no .NET in Debian: a script stands in, with its packages in the same
place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.stories import DOWNLOAD
from tests.support.lamina import Lamina
from tests.support.packages import (
    Server,
    publish_crate,
    publish_gem,
    publish_go_module,
    publish_nuget_package,
    publish_php_package,
    publish_wheel,
    serving,
    write,
)
from tools.bases import busybox_rootfs, debian_rootfs
from tools.registries import npm_secrets

pytestmark = [pytest.mark.tools, pytest.mark.root]

CACHE_MOUNT = re.compile(r"--mount=type=cache,\S+ *(\\\n *)?")
PACKAGES = (
    "ca-certificates",
    "cargo",
    "composer",
    "golang-go",
    "nodejs",
    "npm",
    "python3-pip",
    "ruby-bundler",
    "unzip",
)

Fetched = Callable[[str], set[str]]


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Lamina:
    """A store that holds the images which the Dockerfiles below start from."""
    folder = tmp_path_factory.mktemp("tools")
    busybox = folder / "busybox.tar"
    busybox.write_bytes(busybox_rootfs())
    lamina = Lamina(store=folder / "store")
    lamina.run("import", busybox, "busybox").must_succeed()
    lamina.run("import", debian_rootfs(), "debian").must_succeed()
    lamina.run("import", debian_rootfs(*PACKAGES), "tools").must_succeed()
    return lamina


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An empty folder over HTTP, to become a registry."""
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as running:
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project with a Dockerfile, whose dependencies `depend` writes down.

    `fetched` tells from a build's output (or a server's log) which packages were fetched.
    """

    lamina: Lamina
    context: Path
    dockerfile: str
    depend: Callable[[list[str]], dict[str, str]]
    fetched: Fetched
    options: tuple[str, ...] = ()

    def build(self, dependencies: list[str], *, mounts: bool = True) -> set[str]:
        """Build with these dependencies; the packages that were fetched."""
        text = self.dockerfile if mounts else CACHE_MOUNT.sub("", self.dockerfile)
        write(self.context, {"Dockerfile": text, **self.depend(dependencies)})
        built = self.lamina.build(
            self.context, "--network=host", "--output=type=cacheonly", *self.options, timeout=600
        )
        return self.fetched(built.must_succeed().said)

    def check(self, first: str, second: str) -> None:
        assert self.build([first]) == {first}
        assert self.build([first, second]) == {second}
        assert self.build([first, second], mounts=False) == {first, second}


def test_node(builder: Lamina, tmp_path: Path) -> None:
    """npm keeps its packages in /root/.npm."""

    def depend(names: list[str]) -> dict[str, str]:
        wanted = ", ".join(f'"{name}": "*"' for name in names)
        return {"package.json": f'{{"name": "app", "dependencies": {{{wanted}}}}}'}

    def fetched(said: str) -> set[str]:
        return set(re.findall(r"GET 200 \S+/([^/\s]+)-[\d.]+\.tgz (?!.*cache hit)", said))

    Project(
        lamina=builder,
        context=tmp_path / "context",
        dockerfile="""\
FROM tools
WORKDIR /app
COPY package.json .
RUN --mount=type=cache,target=/root/.npm \\
    --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca \\
    npm install --loglevel=http
""",
        depend=depend,
        fetched=fetched,
        options=tuple(npm_secrets(tmp_path)),
    ).check("is-number", "kind-of")


def test_python(builder: Lamina, server: Server, tmp_path: Path) -> None:
    """pip keeps its wheels in /root/.cache/pip."""
    for name in ("one", "two"):
        publish_wheel(server.folder, name)
    Project(
        lamina=builder,
        context=tmp_path / "context",
        dockerfile=f"""\
FROM tools
ENV PIP_INDEX_URL={server.url}/simple PIP_TRUSTED_HOST=127.0.0.1 PIP_BREAK_SYSTEM_PACKAGES=1
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \\
    pip install -r requirements.txt
""",
        depend=lambda names: {"requirements.txt": "".join(f"{name}\n" for name in names)},
        fetched=lambda _: server.fetched("-py3-none-any.whl"),
    ).check("one", "two")


def test_go(builder: Lamina, server: Server, tmp_path: Path) -> None:
    """go keeps its modules in /go/pkg/mod."""
    for name in ("one", "two"):
        publish_go_module(server.folder, name)

    def depend(names: list[str]) -> dict[str, str]:
        required = "".join(f"require example.test/{name} v1.0.0\n" for name in names)
        imports = "".join(f'import "example.test/{name}"\n' for name in names)
        calls = "".join(f"\tprintln({name}.Name())\n" for name in names)
        return {
            "go.mod": f"module example.test/app\n\ngo 1.18\n\n{required}",
            "main.go": f"package main\n\n{imports}\nfunc main() {{\n{calls}}}\n",
        }

    Project(
        lamina=builder,
        context=tmp_path / "context",
        dockerfile=f"""\
FROM tools
ENV GOPATH=/go GOPROXY={server.url} GOSUMDB=off GOFLAGS=-mod=mod
WORKDIR /app
COPY go.mod main.go ./
RUN --mount=type=cache,target=/go/pkg/mod \\
    go build -o /app/hello && /app/hello
""",
        depend=depend,
        fetched=lambda _: {
            path.split("/")[2] for path in drain(server) if path.endswith("/v1.0.0.zip")
        },
    ).check("one", "two")


def test_apt(builder: Lamina, tmp_path: Path) -> None:
    """apt keeps its packages in /var/cache/apt and its lists in /var/lib/apt."""

    def build(packages: str) -> set[str]:
        dockerfile = f"""\
FROM debian
RUN rm -f /etc/apt/apt.conf.d/docker-clean
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\
  --mount=type=cache,target=/var/lib/apt,sharing=locked \\
  apt update && apt-get --no-install-recommends install -y {packages}
"""
        write(tmp_path / "context", {"Dockerfile": dockerfile})
        built = builder.build(tmp_path / "context", "--output=type=cacheonly", timeout=600)
        said = re.sub(r"(?m)^#\d+ [\d.]+ ", "", built.must_succeed().said)
        return {match["package"] for match in DOWNLOAD.finditer(said)}

    first = build("gcc")
    assert "gcc" in first
    assert len(first) > 5
    assert build("gcc make") == {"make"}


def test_ruby(builder: Lamina, server: Server, tmp_path: Path) -> None:
    """bundler keeps its gems in /root/.gem."""
    for name in ("one", "two"):
        publish_gem(server.folder, name)

    def depend(names: list[str]) -> dict[str, str]:
        gems = "".join(f'gem "{name}"\n' for name in names)
        return {"Gemfile": f'source "{server.url}"\n{gems}'}

    Project(
        lamina=builder,
        context=tmp_path / "context",
        dockerfile="""\
FROM tools
ENV GEM_HOME=/root/.gem
WORKDIR /app
COPY Gemfile .
RUN --mount=type=cache,target=/root/.gem \\
    bundle install
""",
        depend=depend,
        fetched=lambda _: server.fetched(".gem"),
    ).check("one", "two")


def test_rust(builder: Lamina, server: Server, tmp_path: Path) -> None:
    """cargo keeps crates in /usr/local/cargo/registry and what it compiled in /app/target."""
    for name in ("one", "two"):
        publish_crate(server.folder, name, url=server.url)

    def depend(names: list[str]) -> dict[str, str]:
        wanted = "".join(f'{name} = "1"\n' for name in names)
        calls = "".join(f'println!("{{}}", {name}::name());' for name in names)
        return {
            "Cargo.toml": '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n'
            f"[dependencies]\n{wanted}",
            "src/main.rs": f"fn main() {{ {calls} }}\n",
            "config.toml": '[source.crates-io]\nreplace-with = "here"\n'
            '[source.here]\nregistry = "file:///index"\n',
        }

    Project(
        lamina=builder,
        context=tmp_path / "context",
        dockerfile="""\
FROM tools
ENV CARGO_HOME=/usr/local/cargo
WORKDIR /app
COPY config.toml /usr/local/cargo/config.toml
COPY . .
RUN --mount=type=bind,from=index,target=/index \\
    --mount=type=cache,target=/app/target/ \\
    --mount=type=cache,target=/usr/local/cargo/git/db \\
    --mount=type=cache,target=/usr/local/cargo/registry/ \\
    cargo build && ./target/debug/app
""",
        depend=depend,
        fetched=lambda _: server.fetched(".crate"),
        options=(f"--build-context=index={server.folder}/index/.git",),
    ).check("one", "two")


def test_dotnet(builder: Lamina, server: Server, tmp_path: Path) -> None:
    """The stand-in for dotnet keeps its packages in /root/.nuget/packages."""
    for name in ("one", "two"):
        publish_nuget_package(server.folder, name)

    def depend(names: list[str]) -> dict[str, str]:
        wanted = "".join(f'<PackageReference Include="{n}" Version="1.0.0" />\n' for n in names)
        return {"app.csproj": f"<Project>\n{wanted}</Project>\n"}

    Project(
        lamina=builder,
        context=tmp_path / "context",
        dockerfile=f"""\
FROM busybox
COPY --chmod=755 <<'SCRIPT' /bin/dotnet
#!/bin/sh -e
# dotnet restore: fetch what is not in the package folder
sed -n 's/.*Include="\\([^"]*\\)" Version="\\([^"]*\\)".*/\\1 \\2/p' *.csproj |
while read -r name version; do
    folder=$HOME/.nuget/packages/$name/$version
    [ -e "$folder" ] && continue
    mkdir -p "$folder"
    wget -q -O "$folder/$name.nupkg" "{server.url}/$name-$version.nupkg"
done
SCRIPT
WORKDIR /app
COPY app.csproj .
RUN --mount=type=cache,target=/root/.nuget/packages \\
    dotnet restore
""",
        depend=depend,
        fetched=lambda _: server.fetched(".nupkg"),
    ).check("one", "two")


def test_php(builder: Lamina, server: Server, tmp_path: Path) -> None:
    """composer keeps its archives where COMPOSER_CACHE_DIR says."""
    for name in ("one", "two"):
        publish_php_package(server.folder, name, url=server.url)

    def depend(names: list[str]) -> dict[str, str]:
        wanted = ", ".join(f'"tests/{name}": "1.0.0"' for name in names)
        here = f'{{"type": "composer", "url": "{server.url}"}}'
        return {
            "composer.json": f'{{"require": {{{wanted}}}, "config": {{"secure-http": false}}, '
            f'"repositories": [{{"packagist.org": false}}, {here}]}}'
        }

    Project(
        lamina=builder,
        context=tmp_path / "context",
        dockerfile="""\
FROM tools
ENV COMPOSER_CACHE_DIR=/tmp/cache COMPOSER_ALLOW_SUPERUSER=1
WORKDIR /app
COPY composer.json .
RUN --mount=type=cache,target=/tmp/cache \\
    composer install --no-interaction
""",
        depend=depend,
        fetched=lambda _: server.fetched(".zip"),
    ).check("one", "two")


def drain(server: Server) -> list[str]:
    """The paths served since the last question."""
    found = list(server.served)
    server.served.clear()
    return found
