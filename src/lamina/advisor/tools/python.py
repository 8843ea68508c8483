"""Python's: pip, uv, poetry, pdm; and conda."""

from __future__ import annotations

from lamina.advisor.tools.tool import Cache, Locking, Tool

PIP = Tool(
    name="pip",
    programs=("pip", "pip3"),
    caches=(
        Cache(
            folders=("$PIP_CACHE_DIR", "$XDG_CACHE_HOME/pip", "~/.cache/pip"),
            flags=("--cache-dir",),
        ),
    ),
    uses=(("install",), ("wheel",), ("download",)),
    valued=("--cache-dir", "--proxy", "--index-url", "--trusted-host", "--log", "--timeout"),
    disabling=("--no-cache-dir",),
    disabling_variables=("PIP_NO_CACHE_DIR",),
    offline=("--no-index",),
    cleaning=(("pip", "cache", "purge"), ("pip3", "cache", "purge")),
    manifests=("requirements.txt", "pyproject.toml", "setup.py", "setup.cfg"),
    locks=("requirements.txt", "constraints.txt"),
)

UV = Tool(
    name="uv",
    programs=("uv",),
    caches=(
        Cache(
            folders=("$UV_CACHE_DIR", "$XDG_CACHE_HOME/uv", "~/.cache/uv"), flags=("--cache-dir",)
        ),
    ),
    uses=(
        ("sync",),
        ("pip", "install"),
        ("pip", "sync"),
        ("tool", "install"),
        ("run",),
        ("add",),
        ("build",),
    ),
    valued=("--cache-dir", "--directory", "--project", "--config-file"),
    disabling=("--no-cache", "--no-cache-dir", "-n"),
    disabling_variables=("UV_NO_CACHE",),
    offline=("--offline", "--no-index"),
    cleaning=(("uv", "cache", "clean"), ("uv", "cache", "prune"), ("uv", "clean")),
    manifests=("pyproject.toml",),
    locks=("uv.lock",),
)

# Virtual environments lie in poetry's cache folder, too: only what is beside them may be mounted.
POETRY = Tool(
    name="poetry",
    programs=("poetry",),
    caches=(
        Cache(
            folders=(
                "$POETRY_CACHE_DIR/cache",
                "$XDG_CACHE_HOME/pypoetry/cache",
                "~/.cache/pypoetry/cache",
            )
        ),
        Cache(
            folders=(
                "$POETRY_CACHE_DIR/artifacts",
                "$XDG_CACHE_HOME/pypoetry/artifacts",
                "~/.cache/pypoetry/artifacts",
            )
        ),
    ),
    uses=(("install",), ("add",), ("sync",), ("update",)),
    valued=("-C", "--directory", "-P", "--project"),
    disabling=("--no-cache",),
    offline=("--only-root",),
    cleaning=(("poetry", "cache", "clear"),),
    roots=("$POETRY_CACHE_DIR", "~/.cache/pypoetry"),
    manifests=("pyproject.toml",),
    locks=("poetry.lock",),
)

PDM = Tool(
    name="pdm",
    programs=("pdm",),
    caches=(Cache(folders=("$PDM_CACHE_DIR", "$XDG_CACHE_HOME/pdm", "~/.cache/pdm")),),
    uses=(("install",), ("sync",), ("add",), ("update",)),
    valued=("-p", "--project", "-c", "--config"),
    disabling_variables=("PDM_NO_CACHE",),
    cleaning=(("pdm", "cache", "clear"),),
    manifests=("pyproject.toml",),
    locks=("pdm.lock",),
)

# The image's own packages lie there, too.
CONDA = Tool(
    name="conda",
    programs=("conda", "mamba", "micromamba"),
    caches=(Cache(folders=("$CONDA_PKGS_DIRS", "/opt/conda/pkgs"), locking=Locking.ALWAYS),),
    uses=(("install",), ("create",), ("update",), ("env", "create"), ("env", "update")),
    valued=("-n", "--name", "-p", "--prefix"),
    offline=("--offline",),
    cleaning=(("conda", "clean"), ("mamba", "clean"), ("micromamba", "clean")),
    manifests=("environment.yml", "environment.yaml"),
    safe=False,
)
