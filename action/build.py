"""The build of the GitHub Action: inputs of a workflow → one `lamina build` → its outputs.

    python build.py LAMINA

Inputs come as one JSON object in $INPUTS, outputs go to the file $GITHUB_OUTPUT and a summary to
$GITHUB_STEP_SUMMARY (docs.github.com, "Workflow commands"). Lists are read as
docker/build-push-action reads them: as CSV, several records, quotes around what has commas or
newlines in it.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Inputs that are one flag for each entry. In those of the first kind a comma separates entries too.
SEPARATED = {
    "add-hosts": "--add-host",
    "allow": "--allow",
    "no-cache-filters": "--no-cache-filter",
    "ssh": "--ssh",
    "tags": "--tag",
}
WHOLE = {
    "annotations": "--annotation",
    "attests": "--attest",
    "build-args": "--build-arg",
    "build-contexts": "--build-context",
    "cache-from": "--cache-from",
    "cache-to": "--cache-to",
    "labels": "--label",
    "outputs": "--output",
    "ulimit": "--ulimit",
}
SINGLE = {
    "call": "--call",
    "cgroup-parent": "--cgroup-parent",
    "network": "--network",
    "provenance": "--provenance",
    "sbom": "--sbom",
    "shm-size": "--shm-size",
    "target": "--target",
}
SWITCHES = {"load": "--load", "no-cache": "--no-cache", "pull": "--pull", "push": "--push"}
OTHERS = (
    "builder",
    "context",
    "file",
    "github-token",
    "platforms",
    "secrets",
    "secret-envs",
    "secret-files",
)
INPUTS = frozenset((*SEPARATED, *WHOLE, *SINGLE, *SWITCHES, *OTHERS))

DEFAULT_CONTEXT = "{{defaultContext}}"
GIT_TOKEN = "GIT_AUTH_TOKEN"
WARNINGS = re.compile(r"\d+ warnings? found:")
NO_NAMESPACES = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")

Inputs = Mapping[str, str]


class WrongInput(Exception):
    """An input that cannot be meant; the message names it."""


def main() -> int:
    lamina, environ = sys.argv[1], dict(os.environ)
    inputs = {name: str(value).strip() for name, value in json.loads(environ["INPUTS"]).items()}
    try:
        return run(lamina, inputs, environ)
    except (WrongInput, OSError) as error:
        tell("error", str(error))
        return 1


def run(lamina: str, inputs: Inputs, environ: Mapping[str, str]) -> int:
    """Build, and say what came of it. Raises WrongInput."""
    if inputs.get("builder"):
        tell("warning", f"builder: {inputs['builder']} has no effect: Lamina has no daemon")
    environ = {name: value for name, value in environ.items() if name != "INPUTS"}
    # The runner gives an empty variable for what it does not know.
    environ = {n: v for n, v in environ.items() if v or not n.startswith("ACTIONS_")}
    allow_namespaces(environ)
    with tempfile.TemporaryDirectory(dir=environ.get("RUNNER_TEMP")) as name:
        scratch = Path(name)
        metadata = scratch / "metadata.json"
        context = place_of(inputs, environ, scratch)
        command = [
            *(lamina, "build", "--progress=plain", f"--metadata-file={metadata}"),
            *flags(inputs),
            *secret_flags(inputs, scratch),
            *file_flag(inputs, context),
            context,
        ]
        print(shlex.join(command), flush=True)
        code = watched(command, environ)
        made = metadata.read_text() if metadata.exists() else ""
    if made:
        publish(made, environ.get("GITHUB_OUTPUT", ""))
    summarize(lamina, inputs, made, environ)
    return code


def entries(text: str, *, separated: bool, quotes: bool = True) -> list[str]:
    """The entries of a list. `separated`: also by commas. Raises WrongInput for a quote that is
    not closed."""
    csv.field_size_limit(1 << 30)
    lines = io.StringIO(text, newline="")
    try:
        records = list(csv.reader(lines, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE))
    except csv.Error as error:
        raise WrongInput(f"{text[:80]!r} is no list: {error}") from None
    found: list[str] = []
    for record in records:
        if not separated:
            found.append(",".join(record))
        elif len(record) == 1:
            found += record[0].split(",")
        else:
            found += record
    return [entry.strip() for entry in found if entry.strip()]


def flags(inputs: Inputs) -> list[str]:
    """The flags of `lamina build` for all inputs but those that need files."""
    found = []
    for name, flag in SEPARATED.items():
        found += [f"{flag}={each}" for each in entries(inputs.get(name, ""), separated=True)]
    for name, flag in WHOLE.items():
        # In outputs, quotes are left to the builder.
        listed = entries(inputs.get(name, ""), separated=False, quotes=name != "outputs")
        found += [f"{flag}={each}" for each in listed]
    found += [f"{flag}={inputs[name]}" for name, flag in SINGLE.items() if inputs.get(name)]
    found += [flag for name, flag in SWITCHES.items() if switched_on(inputs, name)]
    platforms = entries(inputs.get("platforms", ""), separated=True)
    return [*found, *([f"--platform={','.join(platforms)}"] if platforms else ())]


def switched_on(inputs: Inputs, name: str) -> bool:
    """A boolean of YAML 1.2's core schema, which is what the runner's own library takes."""
    text = inputs.get(name, "")
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE", ""):
        return False
    raise WrongInput(f"{name}: {text!r} is neither true nor false")


def secret_flags(inputs: Inputs, scratch: Path) -> list[str]:
    """Secrets; those whose values are inputs go into files that only this user can read."""
    found = []
    given = pairs(inputs, "secrets", quotes=True)
    token = inputs.get("github-token", "")
    if token and is_default(inputs) and GIT_TOKEN not in dict(given):
        given.append((GIT_TOKEN, token))
    for number, (key, value) in enumerate(given):
        path = scratch / f"secret-{number}"
        path.touch(mode=0o600)
        path.write_text(value)
        found.append(secret(key, "src", str(path)))
    for key, path_text in pairs(inputs, "secret-files"):
        if not Path(path_text).is_file():
            raise WrongInput(f"secret-files: {key}: there is no file {path_text}")
        found.append(secret(key, "src", path_text))
    found += [secret(key, "env", name) for key, name in pairs(inputs, "secret-envs")]
    return found


def secret(key: str, kind: str, value: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow((f"id={key}", f"{kind}={value}"))
    return f"--secret={line.getvalue()}"


def pairs(inputs: Inputs, name: str, *, quotes: bool = True) -> list[tuple[str, str]]:
    """`key=value` entries; others are warned of and left out, without their text."""
    found = []
    for entry in entries(inputs.get(name, ""), separated=name == "secret-envs", quotes=quotes):
        key, sign, value = entry.partition("=")
        if key and sign and value:
            found.append((key.strip(), value))
        else:
            tell("warning", f"{name}: an entry is not of the form key=value and is left out")
    return found


def is_default(inputs: Inputs) -> bool:
    """Whether the context is the workflow's commit, or a folder in it."""
    return not inputs.get("context") or inputs["context"].startswith(DEFAULT_CONTEXT)


def place_of(inputs: Inputs, environ: Mapping[str, str], scratch: Path) -> str:
    """The build context: as it was given, or a folder with the workflow's commit."""
    if not is_default(inputs):
        return inputs["context"]
    commit = scratch / "context"
    check_out(commit, inputs.get("github-token", ""), environ)
    below = inputs.get("context", "").removeprefix(DEFAULT_CONTEXT).lstrip(":").strip("/")
    folder = (commit / below).resolve()
    if not folder.is_relative_to(commit.resolve()) or not folder.is_dir():
        raise WrongInput(f"context: there is no folder {below} in the repository")
    return str(folder)


def check_out(folder: Path, token: str, environ: Mapping[str, str]) -> None:
    """The files of the commit, as a builder has them that takes a git repository as its context.

    The token goes to git in its environment, for the repository's server alone. Raises WrongInput.
    """
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    wanted = environ.get("GITHUB_SHA") or environ.get("GITHUB_REF", "")
    if not (server and repository and wanted):
        raise WrongInput("context is required outside of a workflow's run")
    login = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    secret_settings = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {login}",
    }
    env = {**environ, "GIT_TERMINAL_PROMPT": "0", **(secret_settings if token else {})}

    def git(*words: str) -> None:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2]
            raise WrongInput(f"context: {repository} at {wanted}: {said}")

    folder.mkdir()
    git("init", "--quiet")
    git("fetch", "--quiet", "--depth=1", "--no-tags", f"{server}/{repository}.git", wanted)
    git("checkout", "--quiet", "FETCH_HEAD")
    if (folder / ".gitmodules").exists():
        git("remote", "add", "origin", f"{server}/{repository}.git")  # of relative addresses
        git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    shutil.rmtree(folder / ".git")


def file_flag(inputs: Inputs, context: str) -> list[str]:
    """A Dockerfile's path is relative to the workflow's commit, where that is the context."""
    path = inputs.get("file", "")
    if not path:
        return []
    return [f"--file={os.path.join(context, path) if is_default(inputs) else path}"]


def allow_namespaces(environ: Mapping[str, str]) -> None:
    """Ubuntu 24.04 keeps user namespaces from ordinary users. A runner of GitHub's own is thrown
    away after the job and lets its user change that; another one is not ours to change."""
    with contextlib.suppress(OSError):
        if os.geteuid() == 0 or NO_NAMESPACES.read_text().strip() != "1":
            return
        if environ.get("RUNNER_ENVIRONMENT") == "github-hosted":
            setting = f"kernel.{NO_NAMESPACES.name}=0"
            subprocess.run(["sudo", "-n", "sysctl", "--quiet", "--write", setting], check=False)


def watched(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command to its end; its warnings and its error are also shown on the run's page."""
    with subprocess.Popen(
        command, env=dict(environ), stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        warnings = False
        for line in process.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            warnings = warnings or WARNINGS.fullmatch(line.strip()) is not None
            if line.startswith("ERROR: "):
                tell("error", line.removeprefix("ERROR: ").strip())
            elif warnings and line.startswith(" - "):
                tell("warning", line.removeprefix(" - ").strip())
    return process.returncode


def publish(metadata: str, path: str) -> None:
    """The outputs of the action, from what the build wrote of its result."""
    made = json.loads(metadata)
    outputs = {
        "imageid": made.get("containerimage.config.digest", ""),
        "digest": made.get("containerimage.digest", ""),
        "metadata": metadata,
    }
    if not path:
        return
    with open(path, "a") as file:
        for name, value in outputs.items():
            if value:
                mark = f"end-{secrets.token_hex(16)}"
                file.write(f"{name}<<{mark}\n{value.rstrip()}\n{mark}\n")


def summarize(lamina: str, inputs: Inputs, metadata: str, environ: Mapping[str, str]) -> None:
    """The job's summary: lamina's own report, or what the build wrote of its result.

    DOCKER_BUILD_SUMMARY=false switches it off, as for the other action.
    """
    path = environ.get("GITHUB_STEP_SUMMARY", "")
    if not path or environ.get("DOCKER_BUILD_SUMMARY", "true").lower() in ("false", "0", "no"):
        return
    report = subprocess.run(
        [lamina, "report", "--format", "md", "--output", "-"],
        env=dict(environ),
        capture_output=True,
        text=True,
        check=False,
    )
    text = report.stdout if report.returncode == 0 else "\n".join(result(inputs, metadata))
    if text.strip():
        with open(path, "a") as file:
            file.write(f"{text.rstrip()}\n")


def result(inputs: Inputs, metadata: str) -> Iterator[str]:
    digest = json.loads(metadata).get("containerimage.digest", "") if metadata else ""
    yield "### lamina build"
    yield ""
    for tag in entries(inputs.get("tags", ""), separated=True):
        yield f"- `{tag}`"
    yield f"- `{digest}`" if digest else "- no image"


def tell(kind: str, text: str) -> None:
    """A workflow command: a `warning` or an `error` on the page of the run, escaped as the runner
    wants it."""
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{kind} title=lamina build::{escaped}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
