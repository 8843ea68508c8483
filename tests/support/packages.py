"""Tiny packages of five languages, laid out in a folder as their registries lay them out.

A folder served by `serving` is a registry to the package manager; the requests that it answered
tell honestly what was fetched.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import program

VERSION = "1.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A folder served over HTTP on loopback; `served` grows with every file that was fetched."""

    url: str
    folder: Path
    served: list[str]

    def fetched(self, suffix: str) -> set[str]:
        """The packages fetched since the last question, told by their files' suffix."""
        found = {path.rsplit("/", 1)[-1] for path in self.served if path.endswith(suffix)}
        self.served.clear()
        return {name.removesuffix(suffix).removesuffix(f"-{VERSION}") for name in found}


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    served: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            if self.path.endswith(".whl"):  # pip keeps only what it is told to, as PyPI does
                self.send_header("Cache-Control", "max-age=365000000, immutable, public")
            super().end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            if code == http.HTTPStatus.OK:
                served.append(self.path)

        def log_message(self, *_: object) -> None:
            """Errors show in what the package manager says."""

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Server(url=f"http://127.0.0.1:{server.server_port}", folder=folder, served=served)
        server.shutdown()


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by their paths below a folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode() if isinstance(text, str) else text)


def zipped(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return buffer.getvalue()


def tarred(files: Mapping[str, str | bytes], *, compress: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compress else "w") as archive:
        for path, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def publish_go_module(folder: Path, name: str) -> None:
    """`example.test/NAME` in the layout of the module proxy protocol."""
    module, at = f"example.test/{name}", f"example.test/{name}/@v"
    source = f"package {name}\n\nfunc Name() string {{ return {json.dumps(name)} }}\n"
    root = f"{module}@v{VERSION}"
    definition = f"module {module}\n\ngo 1.18\n"
    files: dict[str, str | bytes] = {
        f"{at}/list": f"v{VERSION}\n",
        f"{at}/v{VERSION}.info": json.dumps({"Version": f"v{VERSION}"}),
        f"{at}/v{VERSION}.mod": definition,
        f"{at}/v{VERSION}.zip": zipped({f"{root}/go.mod": definition, f"{root}/{name}.go": source}),
    }
    write(folder, files)


def publish_wheel(folder: Path, name: str) -> None:
    """A wheel in a simple index."""
    root, wheel = f"{name}-{VERSION}.dist-info", f"{name}-{VERSION}-py3-none-any.whl"
    archive = zipped(
        {
            f"{name}.py": "",
            f"{root}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n",
            f"{root}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{root}/RECORD": f"{name}.py,,\n{root}/METADATA,,\n{root}/WHEEL,,\n{root}/RECORD,,\n",
        }
    )
    page = f'<!doctype html><a href="/{wheel}">{wheel}</a>'
    write(folder, {wheel: archive, f"simple/{name}/index.html": page})


def publish_gem(folder: Path, name: str) -> None:
    """A gem, and its entry in a compact index."""
    specification = f"""\
--- !ruby/object:Gem::Specification
name: {name}
version: !ruby/object:Gem::Version
  version: {VERSION}
platform: ruby
rubygems_version: 3.3.0
specification_version: 4
authors: [tests]
summary: {name}
files: [lib/{name}.rb]
require_paths: [lib]
required_ruby_version: !ruby/object:Gem::Requirement
  requirements: [[">=", !ruby/object:Gem::Version {{version: '0'}}]]
required_rubygems_version: !ruby/object:Gem::Requirement
  requirements: [[">=", !ruby/object:Gem::Version {{version: '0'}}]]
dependencies: []
"""
    contents: dict[str, str | bytes] = {
        "metadata.gz": gzip.compress(specification.encode()),
        "data.tar.gz": tarred({f"lib/{name}.rb": f"module {name.capitalize()}; end\n"}),
    }
    gem = tarred(contents, compress=False)
    info = f"---\n{VERSION} |checksum:{hashlib.sha256(gem).hexdigest()}\n"
    write(folder, {f"gems/{name}-{VERSION}.gem": gem, f"info/{name}": info})
    versions = folder / "versions"
    known = versions.read_text() if versions.exists() else "created_at: 2024-01-01T00:00:00Z\n---\n"
    versions.write_text(f"{known}{name} {VERSION} {hashlib.md5(info.encode()).hexdigest()}\n")


def publish_crate(folder: Path, name: str, *, url: str) -> None:
    """A crate for download, and its entry in the index, a git repository in `folder/index`."""
    root = f"{name}-{VERSION}"
    manifest = f'[package]\nname = "{name}"\nversion = "{VERSION}"\nedition = "2021"\n'
    source = f"pub fn name() -> &'static str {{ {json.dumps(name)} }}\n"
    crate = tarred({f"{root}/Cargo.toml": manifest, f"{root}/src/lib.rs": source})
    entry = {
        "name": name,
        "vers": VERSION,
        "deps": [],
        "cksum": hashlib.sha256(crate).hexdigest(),
        "features": {},
        "yanked": False,
    }
    index = folder / "index"
    prefix = f"3/{name[0]}" if len(name) == 3 else f"{name[:2]}/{name[2:4]}"
    config = {"dl": f"{url}/{{crate}}-{{version}}.crate"}
    files = {"config.json": json.dumps(config), f"{prefix}/{name}": json.dumps(entry) + "\n"}
    write(folder, {f"{root}.crate": crate})
    write(index, files)
    git = [program("git"), "-C", str(index), "-c", "user.name=tests", "-c", "user.email=t@e.test"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", name]):
        subprocess.run([*git, *command], check=True)


def publish_php_package(folder: Path, name: str, *, url: str) -> None:
    """`tests/NAME` in a composer repository."""
    package = {"name": f"tests/{name}", "version": VERSION}
    dist = {"type": "zip", "url": f"{url}/{name}-{VERSION}.zip", "reference": name}
    index = folder / "packages.json"
    known = json.loads(index.read_text()) if index.exists() else {"packages": {}}
    known["packages"][f"tests/{name}"] = {VERSION: {**package, "dist": dist}}
    archive = zipped({"composer.json": json.dumps(package), f"{name}.php": "<?php\n"})
    write(folder, {f"{name}-{VERSION}.zip": archive, "packages.json": json.dumps(known)})


def publish_nuget_package(folder: Path, name: str) -> None:
    """A package where the stand-in for `dotnet restore` looks for it."""
    write(folder, {f"{name}-{VERSION}.nupkg": zipped({f"lib/{name}.dll": name})})
