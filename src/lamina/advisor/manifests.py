"""The files in which a package tool reads what to install, and what else such an install may need.

    npm ci      package.json, package-lock.json … and nothing else, unless the package has scripts
                that run at an install, or dependencies that are folders of the project

What the manifests themselves say decides whether the source can come later.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from lamina.advisor.project import Project
from lamina.layer.entry import Kind

_MOST_FOLDERS = 12
_FOREIGN = frozenset(("node_modules", ".git", "vendor", ".venv", "venv", "target", "bin", "obj"))


class Manifests(msgspec.Struct, frozen=True, kw_only=True):
    """The manifests of a tool.

    `required`: without one of them there is nothing to install. `files` are read where they are;
    `nested` in the folders below, too, where `many` matches the text of a manifest (or where it is
    ""). `folders` are read as a whole. `first` are flags that leave the project itself out, so that
    the dependencies can be installed without it; where a manifest matches `nothing_more`, they are
    all there is to install anyway. `local` matches the text of a manifest that asks
    for more of the project than manifests.
    """

    required: tuple[str, ...]
    files: tuple[str, ...]
    nested: tuple[str, ...] = ()
    many: str = ""
    folders: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    nothing_more: str = r"(?!)"
    local: str = r"(?!)"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The manifests of a project: `files` and `folders` are paths in the context.

    `first` are the flags that leave the project out, where there is one to install. `obstacle` says
    what else the install may need. `certain`: everything in them was read.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    obstacle: str = ""
    certain: bool = True


_SCRIPTS = r'"(?:pre|post)?(?:install|prepare)"\s*:|"(?:prepublish|dependencies:.*)"\s*:'
JS_LOCAL = r'"(?:file|link|portal|patch):|"patchedDependencies"'
_JS_LOCAL = f"{JS_LOCAL}|{_SCRIPTS}"
_NODE = (".npmrc", ".nvmrc", ".node-version")

NPM = Manifests(
    required=("package.json",),
    files=("package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", ".npmrc"),
    nested=("package.json",),
    many=r'"workspaces"\s*:',
    local=_JS_LOCAL,
)
YARN = Manifests(
    required=("package.json",),
    files=("package.json", "yarn.lock", ".yarnrc", ".yarnrc.yml", ".npmrc"),
    nested=("package.json",),
    many=r'"workspaces"\s*:',
    folders=(".yarn/releases", ".yarn/plugins", ".yarn/patches"),
    local=_JS_LOCAL,
)
PNPM = Manifests(
    required=("package.json",),
    files=("package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", ".npmrc", ".pnpmfile.cjs"),
    nested=("package.json",),
    many=r"^packages\s*:",
    folders=("patches",),
    local=rf'"(?:file|link|portal):|{_SCRIPTS}',
)
BUN = Manifests(
    required=("package.json",),
    files=("package.json", "bun.lock", "bun.lockb", "bunfig.toml", ".npmrc"),
    nested=("package.json",),
    many=r'"workspaces"\s*:',
    local=_JS_LOCAL,
)
# The files of pip are those that the command names.
REQUIREMENTS = Manifests(
    required=(),
    files=(),
    local=r"(?m)^\s*(?:-e|--editable|--find-links|-f)\b|^\s*(?:\.|file:)|@\s*file:|^\S*/\S*\s*$",
)
UV = Manifests(
    required=("pyproject.toml",),
    files=("pyproject.toml", "uv.lock", "uv.toml", ".python-version"),
    first=("--no-install-project",),
    nothing_more=r"(?s)\A(?!.*\[build-system\])(?!.*\bpackage\s*=\s*true)",
    local=r"(?m)^\[tool\.uv\.workspace|^\[tool\.uv\.sources[^\[]*\b(?:path|workspace)\s*="
    r"|^\s*dynamic\s*=",
)
POETRY = Manifests(
    required=("pyproject.toml",),
    files=("pyproject.toml", "poetry.lock", "poetry.toml"),
    first=("--no-root",),
    nothing_more=r"(?m)^package-mode\s*=\s*false",
    local=r"[{,]\s*path\s*=|@\s*file:|^\[tool\.poetry\.dependencies\.[^\[]*\bpath\s*=",
)
PDM = Manifests(
    required=("pyproject.toml",),
    files=("pyproject.toml", "pdm.lock", "pdm.toml"),
    first=("--no-self",),
    nothing_more=r"(?m)^distribution\s*=\s*false",
    local=r"(?m)@\s*file:|^\s*dynamic\s*=|-e\s+file:|[{,]\s*path\s*=",
)
BUNDLER = Manifests(
    required=("Gemfile",),
    files=("Gemfile", "Gemfile.lock", ".ruby-version", ".tool-versions"),
    folders=(".bundle",),
    local=r"(?m)^\s*gemspec\b|\bpath:|:path\s*=>|\beval_gemfile\b|\bFile\.|\brequire_relative\b"
    r"|\binstance_eval\b|^\s*path\s",
)
COMPOSER = Manifests(
    required=("composer.json",),
    files=("composer.json", "composer.lock", "symfony.lock"),
    first=("--no-scripts", "--no-autoloader"),
    local=r'"type"\s*:\s*"(?:path|artifact)"|"(?:installer-paths|patches|merge-plugin)"\s*:',
)
GO = Manifests(
    required=("go.mod",),
    files=("go.mod", "go.sum"),
    local=r"(?m)^\s*(?:replace\s+)?\S+(?:\s+v\S+)?\s+=>\s+\.{0,2}/",
)
MAVEN = Manifests(
    required=("pom.xml",),
    files=("pom.xml", "mvnw", "settings.xml"),
    nested=("pom.xml",),
    many=r"<modules>",
    folders=(".mvn",),
    local=r"<systemPath>|<relativePath>\s*\.\./",
)
GRADLE = Manifests(
    required=("build.gradle", "build.gradle.kts"),
    files=(
        *("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"),
        *("gradle.properties", "gradlew", "gradle.lockfile"),
    ),
    nested=("build.gradle", "build.gradle.kts"),
    many=r"(?m)^\s*include\b",
    folders=("gradle",),
    local=r"\bapply\s*\(?\s*from\b|\bincludeBuild\b|\bfiles\s*\(|\bfileTree\s*\(|\bbuildSrc\b",
)
DOTNET = Manifests(
    required=("*.csproj", "*.fsproj", "*.vbproj", "*.sln", "*.slnx"),
    files=(
        *("*.csproj", "*.fsproj", "*.vbproj", "*.sln", "*.slnx", "global.json"),
        *("[Nn]u[Gg]et.[Cc]onfig", "Directory.*.props", "Directory.*.targets"),
        "packages.lock.json",
    ),
    nested=("*.csproj", "*.fsproj", "*.vbproj", "packages.lock.json", "Directory.*.props"),
    local=r"<Import\s+Project=",
)
MIX = Manifests(
    required=("mix.exs",),
    files=("mix.exs", "mix.lock"),
    nested=("mix.exs",),
    many=r"\bapps_path\s*:",
    folders=("config",),
    local=r"\bpath:|\bFile\.|\bin_umbrella:|Code\.require_file",
)

BY_TOOL: Mapping[str, Manifests] = MappingProxyType(
    {
        "npm": NPM,
        "yarn": YARN,
        "pnpm": PNPM,
        "bun": BUN,
        "pip": REQUIREMENTS,
        "uv": UV,
        "poetry": POETRY,
        "pdm": PDM,
        "bundler": BUNDLER,
        "composer": COMPOSER,
        "go": GO,
        "maven": MAVEN,
        "gradle": GRADLE,
        "dotnet": DOTNET,
        "mix": MIX,
    }
)


def find_manifests(project: Project, manifests: Manifests, folder: str) -> Found | None:
    """Those in a folder of the context (`backend/`, "" for its top), None where there are none."""
    listing = _Listing(project)
    here = listing.matching(folder, manifests.files)
    if not any(_matches(path, manifests.required) for path in here):
        below = listing.below(folder, manifests.nested) if not manifests.many else ()
        if not any(_matches(path, manifests.required) for path in below):
            return None
    found = list(here)
    texts = [project.text(path.encode()) for path in here if not _is_lock(path)]
    if manifests.nested and _many(manifests, texts):
        found += (path for path in listing.below(folder, manifests.nested) if path not in found)
        texts = [project.text(path.encode()) for path in found if not _is_lock(path)]
    return _judged(found, listing.folders(folder, manifests.folders), texts, manifests)


def find_requirements(project: Project, named: tuple[str, ...], folder: str) -> Found | None:
    """The files that pip is given, and those that they name, each relative to `folder`."""
    listing = _Listing(project)
    left, found, texts = [folder + name for name in named], [], []
    while left:
        path = left.pop(0)
        if path in found:
            continue
        if not listing.has(path):
            return None
        found.append(path)
        text = project.text(path.encode())
        texts.append(text)
        for match in _INCLUDED.finditer(text or ""):
            inner = _joined(path.rpartition("/")[0], match["path"])
            if inner is None or not listing.has(inner):
                return None
            left.append(inner)
    return _judged(found, (), texts, REQUIREMENTS)


_INCLUDED = re.compile(
    r"^\s*(?:-r|--requirement|-c|--constraint)[ =]*(?P<path>[^\s#]+)", re.MULTILINE
)


def bare(project: Project) -> bool:
    """Whether nothing is there but Dockerfiles: the project itself lies elsewhere."""
    if project.context is None:
        return True
    names = (one.path.rpartition(b"/")[2] for one in project.context.kept if one.kind is Kind.FILE)
    return all(re.search(rb"(?i)dockerfile|containerfile|\.md$|dockerignore", n) for n in names)


def _joined(folder: str, path: str) -> str | None:
    parts = folder.split("/") if folder else []
    for part in path.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part == "..":
            return None
        elif part not in ("", "."):
            parts.append(part)
    return None if path.startswith(("/", "http:", "https:", "$")) else "/".join(parts)


def _judged(
    files: list[str], folders: tuple[str, ...], texts: list[str | None], manifests: Manifests
) -> Found:
    obstacle = ""
    for path, text in zip([path for path in files if not _is_lock(path)], texts, strict=True):
        match = re.search(manifests.local, text) if text is not None else None
        if match is not None:
            obstacle = f"{path} says {' '.join(match[0].split())}"
            break
    if len({path.rpartition("/")[0] for path in files}) > _MOST_FOLDERS:
        obstacle = obstacle or "there are many of them"
    whole = any(re.search(manifests.nothing_more, text) for text in texts if text is not None)
    return Found(
        files=tuple(files),
        folders=folders,
        first=() if whole else manifests.first,
        obstacle=obstacle,
        certain=None not in texts,
    )


_LOCKS = re.compile(
    r"(?:.*/)?(?:.+[.-]lock(?:\..+|b)?|go\.sum|npm-shrinkwrap\.json|gradle\.lockfile)"
)


def _is_lock(path: str) -> bool:
    return _LOCKS.fullmatch(path) is not None


def _many(manifests: Manifests, texts: list[str | None]) -> bool:
    if not manifests.many:
        return True
    pattern = re.compile(manifests.many, re.MULTILINE)
    return any(text is not None and pattern.search(text) for text in texts)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


class _Listing:
    """The files of a context whose names are text."""

    def __init__(self, project: Project) -> None:
        kept = project.context.kept if project.context is not None else ()
        self._files = [
            one.path.decode("utf-8", "surrogateescape") for one in kept if one.kind is Kind.FILE
        ]

    def has(self, path: str) -> bool:
        return path in self._files

    def matching(self, folder: str, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """Files in the folder itself, in the order of the patterns."""
        inside = [p for p in self._files if p.startswith(folder) and "/" not in p[len(folder) :]]
        found = [path for each in patterns for path in inside if _matches(path, (each,))]
        return tuple(dict.fromkeys(found))

    def below(self, folder: str, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._below(folder, patterns))

    def _below(self, folder: str, patterns: tuple[str, ...]) -> Iterator[str]:
        for path in self._files:
            rest = path[len(folder) :]
            own = path.startswith(folder) and "/" in rest and _matches(path, patterns)
            if own and _FOREIGN.isdisjoint(rest.split("/")[:-1]):
                yield path

    def folders(self, folder: str, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            folder + name
            for name in names
            if any(path.startswith(f"{folder}{name}/") for path in self._files)
        )
