"""What a broad COPY takes along that no build needs, and what may be a secret.

Names alone say little: whether history, installed packages or keys are wanted is asked of the
Dockerfile, of the manifests, and of the files themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from lamina.advisor.ignorable import ignorable
from lamina.advisor.project import Project
from lamina.context.survey import Kept, Survey, Use
from lamina.dockerfile.instructions.commands import RunCommand
from lamina.layer.entry import Kind

_SECRET = "may hold a secret"
_MOST_LOOKED_AT = 64 << 10
_WANTS_HISTORY = re.compile(
    r"\bgit\s+(?:-[cC]\s+\S+\s+)*(?!clone|config|init|lfs|--version)[a-z]|-buildvcs"
)
_HISTORY_IN_MANIFESTS = re.compile(
    r"setuptools[_-]scm|hatch-vcs|dynamic-versioning|versioningit|versioneer|\bpbr\b|vergen|built\b"
    r"|git-commit-id|gitversion|minver|nerdbank|git-rev|git-version|dunamai|nyx|axion|jgitver",
    re.IGNORECASE,
)
_MANIFESTS = (
    *("pyproject.toml", "setup.py", "setup.cfg", "Cargo.toml", "build.rs", "package.json"),
    *("pom.xml", "build.gradle", "build.gradle.kts", "Directory.Build.props", "Makefile"),
)
_NODE_INSTALL = re.compile(
    r"\b(?:npm|pnpm|yarn|bun)\b.*\b(?:install|ci|i|add)\b|\byarn\b", re.DOTALL
)
_PYTHON_INSTALL = re.compile(r"\b(?:pip\d?|uv|poetry|pdm|venv|virtualenv)\b")
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z ]+ )?PRIVATE KEY-----")
_TOKENS = re.compile(
    r"(?m)_(?:authToken|auth|password)[ \t]*=[ \t]*(?![\"']?\$)\S+|^\s*password[ \t]*[=:][ \t]*\S+"
)
_VARIABLES = re.compile(
    r"(?mi)^\s*(?:export\s+)?\w*(?:SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE_KEY|API_?KEY|ACCESS_KEY)\w*"
    r"[ \t]*=[ \t]*[\"']?(?!changeme|change_me|example|your|xxx|todo|<|\$\{?\w)[^\s\"'#]{6,}"
)


class Litter(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a COPY takes along. `pattern` is the line that an ignore file needs for it."""

    pattern: str
    why: str
    size: int
    use: Use


def litter(project: Project) -> Iterator[Litter]:
    """What is of no use to the build, by the patterns that would keep it out."""
    survey = project.context
    if survey is None or not survey.uses:
        return
    for line in ignorable(survey):
        if line.why == _SECRET or not _is_litter(project, line.pattern):
            continue
        use = _taking(survey, line.pattern)
        if use is not None:
            yield Litter(pattern=line.pattern, why=line.why, size=line.size, use=use)


def secrets(project: Project) -> Iterator[Litter]:
    """Files with keys or passwords in them."""
    survey = project.context
    if survey is None or not survey.uses:
        return
    named = {line.pattern for line in ignorable(survey) if line.why == _SECRET}
    for one in survey.kept:
        path = one.path.decode("utf-8", "surrogateescape")
        name = path.rpartition("/")[2]
        listed = path in named or f"**/{name}" in named
        if listed and one.kind is Kind.FILE and one.size <= _MOST_LOOKED_AT:
            why = _secret(name, project.text(one.path) or "")
            use = next((use for use in survey.uses if one.path in use.paths), None)
            if why and use is not None:
                yield Litter(pattern=path, why=why, size=one.size, use=use)


def _secret(name: str, text: str) -> str:
    if _PRIVATE_KEY.search(text):
        return "a private key"
    if name in (".npmrc", ".pypirc", ".netrc"):
        return "a password or token" if _TOKENS.search(text) or name == ".netrc" else ""
    if name.startswith(".env") and _VARIABLES.search(text):
        return "passwords or tokens"
    return ""


def _taking(survey: Survey, pattern: str) -> Use | None:
    """The first instruction that takes something of what a pattern stands for."""
    paths = frozenset(one.path for one in survey.kept if _stands_for(pattern, one))
    return next((use for use in survey.uses if not paths.isdisjoint(use.paths)), None)


def _stands_for(pattern: str, one: Kept) -> bool:
    path = one.path.decode("utf-8", "surrogateescape")
    if pattern.startswith("**/"):
        return path.rpartition("/")[2] == pattern[3:]
    return path == pattern


def _is_litter(project: Project, pattern: str) -> bool:
    name = pattern.rpartition("/")[2]
    scripts = "\n".join(_scripts(project))
    if name in (".git", ".hg", ".svn"):
        return not _WANTS_HISTORY.search(scripts) and not _asks_for_history(project)
    if name == "node_modules":
        return bool(_NODE_INSTALL.search(scripts))
    if name in ("venv", ".venv"):
        return bool(_PYTHON_INSTALL.search(scripts))
    return True


def _scripts(project: Project) -> Iterator[str]:
    for stage in project.dockerfile.stages:
        for command in stage.commands:
            if isinstance(command, RunCommand):
                yield command.span.text


def _asks_for_history(project: Project) -> bool:
    """Whether a manifest makes the version of the project from its history."""
    assert project.context is not None
    for one in project.context.kept:
        name = one.path.rpartition(b"/")[2].decode("utf-8", "replace")
        if name in _MANIFESTS and one.path.count(b"/") <= 1:
            text = project.text(one.path)
            if text is None or _HISTORY_IN_MANIFESTS.search(text):
                return True
    return False
