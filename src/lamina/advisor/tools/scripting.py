"""Ruby's and PHP's: bundler, gem, composer."""

from __future__ import annotations

from lamina.advisor.tools.tool import Cache, Tool

# What is installed lies in GEM_HOME and belongs to the image; the archives are beside it.
_GEMS = (
    Cache(folders=("~/.gem",)),
    Cache(folders=("$GEM_HOME/cache",), extra=True),
)

BUNDLER = Tool(
    name="bundler",
    programs=("bundle", "bundler"),
    caches=_GEMS,
    uses=((), ("install",), ("update",)),
    offline=("--local",),
    manifests=("Gemfile", "*.gemspec"),
    locks=("Gemfile.lock",),
)

GEM = Tool(
    name="gem",
    programs=("gem",),
    caches=_GEMS,
    uses=(("install",), ("update",)),
    offline=("--local", "-l"),
    manifests=(),
)

COMPOSER = Tool(
    name="composer",
    programs=("composer", "composer.phar"),
    caches=(
        Cache(
            folders=("$COMPOSER_CACHE_DIR", "$COMPOSER_HOME/cache", "~/.composer/cache"),
            also=("/tmp/cache", "~/.cache/composer"),
        ),
    ),
    uses=(("install",), ("update",), ("require",), ("create-project",), ("global", "require")),
    valued=("-d", "--working-dir"),
    disabling=("--no-cache",),
    cleaning=(("composer", "clear-cache"), ("composer", "clearcache"), ("composer", "cc")),
    manifests=("composer.json",),
    locks=("composer.lock",),
)
