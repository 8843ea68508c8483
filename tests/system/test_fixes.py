"""Fixes proven by building: what they change about an image, and about the build after it.

Each Dockerfile is built as it is and as `lamina fix` leaves it. The two images hold the same files,
but for the caches that are named here; and when something is added, the fixed one fetches that
alone, the other one everything again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from demo.stories import DOWNLOAD
from tests.support.images import Image, Tree, apply, differences, read_image
from tests.support.lamina import Lamina
from tests.support.packages import Server, publish_wheel, serving, write
from tools.bases import debian_rootfs
from tools.registries import npm_secrets

pytestmark = pytest.mark.root


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An empty folder over HTTP, to become a registry."""
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as running:
        yield running


class Proof:
    """A project that is built before and after its fix.

    `fetched` tells from what a build said, or from a server's log, what it downloaded.
    """

    def __init__(
        self, lamina: Lamina, context: Path, *, fetched: Callable[[str], set[str]]
    ) -> None:
        self.lamina = lamina
        self.context = context
        self._fetched = fetched
        self._count = 0

    def build(self, *options: str) -> tuple[Image, set[str]]:
        """The image, and what was fetched for it."""
        self._count += 1
        image = self.context.parent / f"image-{self._count}.tar"
        built = self.lamina.build(
            self.context, f"--output=type=oci,dest={image}", *options, timeout=600
        ).must_succeed()
        said = re.sub(r"(?m)^#\d+ [\d.]+ ", "", built.said)
        return read_image(image), self._fetched(said)

    def fix(self) -> str:
        """Applies the safe fixes; the Dockerfile that comes out, which nothing more can be said
        of.
        """
        self.lamina.run("fix", "--write", self.context).must_succeed()
        fixed = (self.context / "Dockerfile").read_text()
        again = self.lamina.run("fix", "--diff", self.context).must_succeed()
        assert "@@" not in again.said
        return fixed

    def check(
        self,
        depend: Callable[[Sequence[str]], dict[str, str]],
        *,
        caches: str,
        options: Sequence[str] = (),
        names: tuple[str, str] = ("one", "two"),
    ) -> str:
        """Everything that this module promises, for a project that `depend` gives dependencies.

        `caches` matches the paths on which the images may differ. Returns the fixed Dockerfile.
        """
        first, second = names
        write(self.context, depend([first]))
        before, fetched = self.build(*options)
        assert first in fetched
        before_more, again = self._with(depend([first, second]), options)
        assert again >= {first, second}

        write(self.context, depend([first]))
        fixed = self.fix()
        after, _ = self.build(*options)
        same_but_for(caches, before, after)
        after_more, new = self._with(depend([first, second]), options)
        assert second in new
        assert first not in new
        same_but_for(caches, before_more, after_more)
        return fixed

    def _with(self, files: dict[str, str], options: Sequence[str]) -> tuple[Image, set[str]]:
        write(self.context, files)
        return self.build(*options)


def same_but_for(caches: str, before: Image, after: Image) -> None:
    """The two images hold the same files, but for those that match."""
    known = re.compile(caches)
    told = differences(files(after.layers), files(before.layers))
    assert [line for line in told if not known.match(line)] == []


def files(layers: Sequence[bytes]) -> Tree:
    tree = dict(base(layers[0]))
    for layer in layers[1:]:
        apply(tree, layer)
    return tree


@functools.lru_cache(maxsize=1)
def base(layer: bytes) -> Tree:
    """The large layer that all images of a test start with is read once."""
    tree: Tree = {}
    apply(tree, layer)
    return tree


DOTNET = r"""
FROM busybox
COPY --chmod=755 <<'SCRIPT' /bin/dotnet
#!/bin/sh -e
# Downloads what the project names into the package folder; publishing needs it there.
folder=$HOME/.nuget/packages
names=$(sed -n 's/.*Include="\([^"]*\)".*/\1/p' *.csproj)
mkdir -p "$folder"
for name in $names; do
    case " $* " in
        *" restore "*) [ -e "$folder/$name" ] || wget -q -O "$folder/$name" "URL/$name.nupkg" ;;
        *) mkdir -p /app; cp "$folder/$name" "/app/$name.dll" ;;
    esac
done
SCRIPT
WORKDIR /src
COPY app.csproj .
RUN dotnet restore
RUN dotnet publish --no-restore -o /app
"""


def test_a_store_is_mounted_wherever_it_is_read(
    lamina: Lamina, server: Server, tmp_path: Path
) -> None:
    """The stand-in for dotnet: a later step reads what the first one downloaded."""
    for name in ("one", "two"):
        write(server.folder, {f"{name}.nupkg": name})
    write(tmp_path / "context", {"Dockerfile": DOTNET.replace("URL", server.url)})
    proof = Proof(lamina, tmp_path / "context", fetched=lambda _: server.fetched(".nupkg"))
    fixed = proof.check(
        lambda names: {
            "app.csproj": "".join(f'<PackageReference Include="{name}" />\n' for name in names)
        },
        caches=r"root/\.nuget\b",
    )
    assert fixed.count("--mount=type=cache,target=/root/.nuget/packages") == 2


UV = r"""
FROM busybox
COPY --chmod=755 <<'SCRIPT' /bin/uv
#!/bin/sh -e
# Copies what the lock file names into the environment; `--no-cache` downloads it for that alone.
cache=${UV_CACHE_DIR:-$HOME/.cache/uv}
case " $* " in *" --no-cache "*) cache=/tmp/uv-$$; trap 'rm -rf "$cache"' EXIT ;; esac
mkdir -p "$cache" /app/.venv
while read -r name; do
    [ -e "$cache/$name" ] || wget -q -O "$cache/$name" "URL/$name.whl"
    cp "$cache/$name" "/app/.venv/$name"
done < uv.lock
SCRIPT
RUN mkdir -p /app /home/app && chown 1000 /app /home/app
ENV HOME=/home/app
USER 1000
WORKDIR /app
COPY uv.lock .
RUN uv sync --locked --no-cache
"""


def test_an_ordinary_user_can_write_to_its_mount(
    lamina: Lamina, server: Server, tmp_path: Path
) -> None:
    """The stand-in for uv, run by a user who is not root, and told not to keep anything."""
    for name in ("one", "two"):
        write(server.folder, {f"{name}.whl": name})
    write(tmp_path / "context", {"Dockerfile": UV.replace("URL", server.url)})
    proof = Proof(lamina, tmp_path / "context", fetched=lambda _: server.fetched(".whl"))
    fixed = proof.check(
        lambda names: {"uv.lock": "".join(f"{name}\n" for name in names)},
        caches=r"home/app/\.cache\b",
    )
    assert "target=/home/app/.cache/uv,uid=1000" in fixed
    assert "--no-cache" not in fixed.partition("SCRIPT\nRUN")[2]


GO = """
FROM busybox AS build
COPY --chmod=755 <<'SCRIPT' /bin/go
#!/bin/sh -e
test "$1 $2" = "build -o"
cat main.go go.mod > "$3"
SCRIPT
WORKDIR /src
COPY . .
RUN go build -o /bin/app .

FROM scratch
COPY --from=build /bin/app /app
"""


def test_a_bind_mount_shows_what_a_copy_showed(lamina: Lamina, tmp_path: Path) -> None:
    """A source that only a compiler reads is mounted for it; the program comes out the same."""
    context = tmp_path / "context"
    write(context, {"Dockerfile": GO, "main.go": "package main\n", "go.mod": "module app\n"})
    proof = Proof(lamina, context, fetched=lambda _: set())
    before, _ = proof.build()
    fixed = proof.fix()
    assert "--mount=type=bind,target=." in fixed
    assert "COPY . ." not in fixed
    after, _ = proof.build()
    same_but_for("$", before, after)
    write(context, {"main.go": "package main // changed\n"})
    changed, _ = proof.build()
    assert changed.file("app") != after.file("app")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Lamina:
    """A store with a Debian, and one with real package managers in it."""
    folder = tmp_path_factory.mktemp("fixes")
    lamina = Lamina(store=folder / "store")
    lamina.run("import", debian_rootfs(), "debian").must_succeed()
    tools = debian_rootfs("ca-certificates", "nodejs", "npm", "python3-pip")
    lamina.run("import", tools, "tools").must_succeed()
    return lamina


@pytest.mark.tools
def test_apt(real: Lamina, tmp_path: Path) -> None:
    """apt: what it installs is the same, and a new package costs one download."""
    dockerfile = """\
FROM debian

RUN apt-get update && apt-get install -y --no-install-recommends \\
    NAMES \\
    && rm -rf /var/lib/apt/lists/*
"""
    write(tmp_path / "context", {"Dockerfile": dockerfile})

    def depend(names: Sequence[str]) -> dict[str, str]:
        current = (tmp_path / "context" / "Dockerfile").read_text()
        wanted = " ".join(names)
        return {
            "Dockerfile": re.sub(
                r"(?m)^    (?:NAMES|hello\b.*?)( \\)?$", rf"    {wanted}\1", current
            )
        }

    proof = Proof(
        real,
        tmp_path / "context",
        fetched=lambda said: {match["package"] for match in DOWNLOAD.finditer(said)},
    )
    fixed = proof.check(
        depend,
        # apt's own notes of what came along with what lie beside its lists.
        caches=r"var/cache/(apt|debconf|ldconfig)\b|var/lib/apt/|var/log/|etc/apt/apt\.conf\.d/"
        r"(docker-clean|keep-cache)|var/lib/dpkg/.*-old|etc/ld\.so\.cache",
        names=("hello", "tree"),
    )
    assert "docker-clean" in fixed


@pytest.mark.tools
def test_pip(real: Lamina, server: Server, tmp_path: Path) -> None:
    """pip: the packages are the same, and a new one costs one download."""
    for name in ("one", "two"):
        publish_wheel(server.folder, name)
    dockerfile = f"""\
FROM tools
ENV PIP_INDEX_URL={server.url}/simple PIP_TRUSTED_HOST=127.0.0.1 PIP_BREAK_SYSTEM_PACKAGES=1
ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --no-compile -r requirements.txt
"""
    write(tmp_path / "context", {"Dockerfile": dockerfile})
    proof = Proof(real, tmp_path / "context", fetched=lambda _: server.fetched("-py3-none-any.whl"))
    fixed = proof.check(
        lambda names: {"requirements.txt": "".join(f"{name}\n" for name in names)},
        caches=r"root/\.cache\b",
    )
    assert "--no-cache-dir" not in fixed


@pytest.mark.tools
def test_npm(real: Lamina, tmp_path: Path) -> None:
    """npm: node_modules is the same, and a new package costs one download."""
    dockerfile = """\
FROM tools
WORKDIR /app
COPY package.json .
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca \\
    npm install --loglevel=http && npm cache clean --force
"""
    write(tmp_path / "context", {"Dockerfile": dockerfile})
    fetch = re.compile(r"GET 200 \S+/([^/\s]+)-[\d.]+\.tgz (?!.*cache hit)")
    proof = Proof(real, tmp_path / "context", fetched=lambda said: set(fetch.findall(said)))

    def depend(names: Sequence[str]) -> dict[str, str]:
        wanted = ", ".join(f'"{name}": "*"' for name in names)
        return {"package.json": f'{{"name": "app", "dependencies": {{{wanted}}}}}'}

    fixed = proof.check(
        depend,
        caches=r"root/\.npm\b",
        options=npm_secrets(tmp_path),
        names=("is-number", "kind-of"),
    )
    assert "cache clean" not in fixed
