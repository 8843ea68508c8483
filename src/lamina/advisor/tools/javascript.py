"""JavaScript's: npm, yarn (1 and later), pnpm, bun."""

from __future__ import annotations

from lamina.advisor.tools.tool import Cache, Locking, Tool

NPM = Tool(
    name="npm",
    programs=("npm",),
    caches=(
        Cache(folders=("$npm_config_cache", "$NPM_CONFIG_CACHE", "~/.npm"), flags=("--cache",)),
    ),
    uses=(
        ("install",),
        ("i",),
        ("ci",),
        ("add",),
        ("update",),
        ("install-ci-test",),
        ("clean-install",),
    ),
    valued=("--prefix", "-C", "--cache", "--registry", "-w", "--workspace", "--loglevel"),
    offline=("--offline",),
    cleaning=(("npm", "cache", "clean"), ("npm", "cache", "rm"), ("npm", "cache", "clear")),
    manifests=("package.json",),
    locks=("package-lock.json", "npm-shrinkwrap.json"),
)

# Version 1. As root it does not look into HOME; two at once break its cache.
YARN = Tool(
    name="yarn",
    programs=("yarn", "yarnpkg"),
    caches=(
        Cache(
            folders=(
                "$YARN_CACHE_FOLDER",
                "$yarn_cache_folder",
                "$XDG_CACHE_HOME/yarn",
                "~/.cache/yarn",
            ),
            flags=("--cache-folder",),
            also=("/usr/local/share/.cache/yarn", "/usr/local/share/.cache"),
            locking=Locking.PARALLEL,
        ),
    ),
    uses=((), ("install",), ("add",), ("global", "add"), ("upgrade",)),
    valued=("--cwd", "--cache-folder", "--modules-folder", "--registry", "--mutex"),
    offline=("--offline",),
    cleaning=(("yarn", "cache", "clean"),),
    manifests=("package.json",),
    locks=("yarn.lock",),
)

PNPM = Tool(
    name="pnpm",
    programs=("pnpm",),
    caches=(
        Cache(
            folders=(
                "$npm_config_store_dir",
                "$NPM_CONFIG_STORE_DIR",
                "$PNPM_HOME/store",
                "$XDG_DATA_HOME/pnpm/store",
                "~/.local/share/pnpm/store",
            ),
            flags=("--store-dir",),
        ),
    ),
    uses=(("install",), ("i",), ("add",), ("fetch",), ("update",)),
    valued=("--dir", "-C", "--filter", "-F", "--store-dir", "--reporter"),
    offline=("--offline",),
    cleaning=(("pnpm", "store", "prune"),),
    manifests=("package.json",),
    locks=("pnpm-lock.yaml",),
    store=True,
)

BUN = Tool(
    name="bun",
    programs=("bun",),
    caches=(
        Cache(
            folders=(
                "$BUN_INSTALL_CACHE_DIR",
                "$BUN_INSTALL/install/cache",
                "~/.bun/install/cache",
            ),
            flags=("--cache-dir",),
        ),
    ),
    uses=(("install",), ("i",), ("add",), ("ci",), ("update",)),
    valued=("--cwd", "--cache-dir", "-c", "--config"),
    disabling=("--no-cache",),
    cleaning=(("bun", "pm", "cache", "rm"),),
    manifests=("package.json",),
    locks=("bun.lock", "bun.lockb"),
)
