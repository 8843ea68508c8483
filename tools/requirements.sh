#!/bin/sh
# Pin and hash what pyproject.toml asks for: requirements/{run,dev,build}.txt.
# No index address is written into them: every machine installs from the index it is set up for.
set -eu
cd "$(dirname "$0")/.."

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    # only this needs uv, so it is fetched for the occasion
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    python3 -m venv "$scratch"
    "$scratch/bin/python" -m pip install --quiet --disable-pip-version-check uv
    uv=$scratch/bin/uv
fi

compile() { # OUTPUT SOURCE [OPTION...]
    output=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
        --no-annotate --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make requirements" -o "requirements/$output" "$@"
}

compile dev.txt pyproject.toml --extra dev
compile run.txt pyproject.toml -c requirements/dev.txt
python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
    compile build.txt - -c requirements/dev.txt
