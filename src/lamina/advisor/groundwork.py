"""Commands that prepare a system, whatever the project's source says: they neither read the files
of a project nor variables that nobody has told them about.

What is not known to be so is not groundwork. A RUN of nothing else gives the same result above a
COPY of the source as below it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lamina.advisor.runs import Run
from lamina.advisor.shell.script import Step
from lamina.advisor.stagestate import StageState
from lamina.advisor.tools.recognition import Call, calls

_OUTSIDE = ("/var/", "/tmp/", "/etc/", "/usr/", "/root/", "/home/")
_WRITES = re.compile(r"[\d&]*>{1,2}\|?\s*(?P<path>\S*)")
_LOCAL = re.compile(r"\.{1,2}(?:/.*)?|file:.*|.*/.*\.(?:deb|rpm|apk|whl|tgz|tar\.gz|gem)")
_OUT = re.compile(r"\s(?:-\w*[oO]|--output(?:-document)?)[ =]?(?P<path>\S+)")
_READS_FILES = frozenset(("-r", "--requirement", "-c", "--constraint", "-e", "--editable"))
_COREPACK = frozenset(("enable", "prepare", "disable"))
_REMOTE_INTERPRETERS = frozenset(("bash", "sh", "gpg", "tee", "tar"))


def is_groundwork(run: Run, state: StageState, step: Step) -> bool:
    """Whether a step of the script is."""
    inside = [
        call
        for call in calls(run, state)
        if step.start <= call.invocation.start and call.invocation.end <= step.end
    ]
    named = [invocation for invocation in step.invocations if invocation.words]
    if not named or len(inside) != len(named) or len(named) != len(step.invocations):
        return False
    piped = {call.program for call in inside} & {"curl", "wget", "echo", "printf"}
    return all(_is(call, piped=bool(piped)) for call in inside)


def _is(call: Call, *, piped: bool) -> bool:
    if not all(map(_writes_outside, call.invocation.redirects)):
        return False
    if piped and call.program in _REMOTE_INTERPRETERS and "pipeline" in call.invocation.inside:
        return all(not _is_local(word) for word in call.arguments())
    if call.invocation.name == "corepack" and call.program in _COREPACK:
        return True
    judge = _JUDGES.get(call.program)
    return judge is not None and judge(call)


def _writes_outside(redirect: str) -> bool:
    match = _WRITES.fullmatch(redirect)
    if match is None:
        return redirect.startswith("<<<")
    return match["path"][:1] in ("&", "/") or redirect.endswith("&1")


def _always(call: Call) -> bool:
    return True


def _known(call: Call) -> bool:
    return all(word.value is not None for word in call.words)


def _named(call: Call) -> bool:
    """It installs what is named, not what lies in a file."""
    return (
        _known(call)
        and call.has(_READS_FILES) is None
        and not any(_is_local(word.value or "") for word in call.words[1:])
    )


def _is_local(word: str) -> bool:
    return _LOCAL.fullmatch(word) is not None


def _outside(call: Call) -> bool:
    """All its paths lie where no project does."""
    paths = call.arguments(("-m", "--mode"))
    return (
        _known(call)
        and bool(paths)
        and all(path.startswith(_OUTSIDE) and ".." not in path for path in paths)
    )


def _fetches(call: Call) -> bool:
    """It writes to no file of the working directory."""
    outputs = ("-o", "--output", "-O", "--output-document")
    if call.program == "wget" and call.has(outputs) is None and not _OUT.search(_text(call)):
        return False
    named = _OUT.findall(_text(call))
    asked = call.has(("-O", "--remote-name", "-o", "--output")) is not None
    return all(path.startswith(("/", "-")) for path in named) and (bool(named) or not asked)


def _text(call: Call) -> str:
    return " ".join(word.value or word.raw for word in call.words)


def _pip(call: Call) -> bool:
    words = call.arguments()
    return _named(call) and words[:1] == ("install",) and len(words) > 1


def _uv(call: Call) -> bool:
    words = call.arguments()
    return (
        _named(call)
        and len(words) > 2
        and (words[:2] in (("pip", "install"), ("tool", "install"), ("python", "install")))
    )


def _global_npm(call: Call) -> bool:
    words = call.arguments()
    if words[:1] in (("config",), ("set",)):
        return call.has(("--location=project",)) is None
    return _named(call) and call.has(("-g", "--global")) is not None and len(words) > 1


def _yarn(call: Call) -> bool:
    words = call.arguments()
    return _named(call) and (words[:2] == ("global", "add") or words[:2] == ("config", "set"))


def _poetry(call: Call) -> bool:
    return call.arguments()[:1] == ("config",) and call.has(("--local",)) is None


def _gem(call: Call) -> bool:
    words = call.arguments()
    return _named(call) and words[:1] in (("install",), ("update",))


def _bundle(call: Call) -> bool:
    return call.arguments()[:1] == ("config",)


def _mix(call: Call) -> bool:
    return call.arguments()[:1] in (("local.hex",), ("local.rebar",))


def _git(call: Call) -> bool:
    return call.arguments()[:1] == ("config",) and call.has(("--global", "--system")) is not None


_JUDGES: Mapping[str, Callable[[Call], bool]] = MappingProxyType(
    {
        **dict.fromkeys(("apt-get", "apt", "apk", "dnf", "microdnf", "yum"), _named),
        **dict.fromkeys(
            ("useradd", "adduser", "groupadd", "addgroup", "usermod", "update-ca-certificates"),
            _always,
        ),
        **dict.fromkeys(("echo", "printf", "true", "set", ":"), _always),
        **dict.fromkeys(("curl", "wget"), _fetches),
        **dict.fromkeys(("locale-gen", "ldconfig", "install-php-extensions"), _always),
        **dict.fromkeys(("docker-php-ext-install", "docker-php-ext-enable", "a2enmod"), _always),
        **dict.fromkeys(("apt-key", "add-apt-repository", "rustup"), _always),
        **dict.fromkeys(("rm", "mkdir", "chmod", "install"), _outside),
        **dict.fromkeys(("pip", "pip3"), _pip),
        **dict.fromkeys(("npm", "pnpm"), _global_npm),
        **dict.fromkeys(("bundle", "bundler"), _bundle),
        "uv": _uv,
        "yarn": _yarn,
        "poetry": _poetry,
        "gem": _gem,
        "mix": _mix,
        "git": _git,
    }
)
