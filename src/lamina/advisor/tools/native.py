"""Tools of compiled languages: go, cargo, maven, gradle, dotnet, mix.

Their folders are stores: what one step downloads, a later one reads.
"""

from __future__ import annotations

from lamina.advisor.tools.tool import Cache, Locking, Tool

GO = Tool(
    name="go",
    programs=("go",),
    caches=(
        Cache(folders=("$GOMODCACHE", "$GOPATH/pkg/mod", "~/go/pkg/mod")),
        Cache(
            folders=("$GOCACHE", "$XDG_CACHE_HOME/go-build", "~/.cache/go-build"),
            extra=True,
        ),
    ),
    uses=(
        ("build",),
        ("install",),
        ("get",),
        ("test",),
        ("run",),
        ("generate",),
        ("vet",),
        ("mod", "download"),
        ("mod", "tidy"),
    ),
    valued=("-C",),
    offline=("-mod=vendor",),
    cleaning=(("go", "clean", "-modcache"), ("go", "clean", "-cache")),
    manifests=("go.mod",),
    locks=("go.sum",),
    store=True,
)

# The lock of cargo's folders lies above them, in CARGO_HOME itself.
CARGO = Tool(
    name="cargo",
    programs=("cargo",),
    caches=(
        Cache(
            folders=("$CARGO_HOME/git/db", "~/.cargo/git/db"), locking=Locking.PARALLEL, extra=True
        ),
        Cache(folders=("$CARGO_HOME/registry", "~/.cargo/registry"), locking=Locking.PARALLEL),
    ),
    uses=(
        ("build",),
        ("b",),
        ("check",),
        ("test",),
        ("run",),
        ("install",),
        ("fetch",),
        ("chef", "cook"),
    ),
    offline=("--offline", "--frozen"),
    manifests=("Cargo.toml",),
    locks=("Cargo.lock",),
    store=True,
)

MAVEN = Tool(
    name="maven",
    programs=("mvn", "mvnw"),
    caches=(
        Cache(
            folders=("~/.m2/repository",),
            flags=("-Dmaven.repo.local",),
            also=("~/.m2",),
            locking=Locking.PARALLEL,
        ),
    ),
    offline=("-o", "--offline"),
    roots=("~/.m2",),
    manifests=("pom.xml",),
    store=True,
)

# Its lock files need the processes that hold them to answer, which those of another container
# do not.
GRADLE = Tool(
    name="gradle",
    programs=("gradle", "gradlew"),
    caches=(
        Cache(
            folders=("$GRADLE_USER_HOME/caches", "~/.gradle/caches"),
            also=("~/.gradle", "/home/gradle/.gradle"),
            locking=Locking.ALWAYS,
        ),
    ),
    offline=("--offline", "-g", "--gradle-user-home"),
    roots=("$GRADLE_USER_HOME", "~/.gradle"),
    manifests=("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"),
    locks=("gradle.lockfile",),
    store=True,
)

DOTNET = Tool(
    name="dotnet",
    programs=("dotnet",),
    caches=(Cache(folders=("$NUGET_PACKAGES", "~/.nuget/packages"), flags=("--packages",)),),
    uses=(("restore",), ("build",), ("publish",), ("test",), ("run",), ("pack",)),
    cleaning=(("dotnet", "nuget", "locals"),),
    roots=("~/.nuget",),
    manifests=("*.csproj", "*.fsproj", "*.sln", "nuget.config", "Directory.Packages.props"),
    locks=("packages.lock.json",),
    store=True,
)

MIX = Tool(
    name="mix",
    programs=("mix",),
    caches=(Cache(folders=("$HEX_HOME/packages", "~/.hex/packages"), also=("~/.hex",)),),
    uses=(("deps.get",), ("deps.update",)),
    manifests=("mix.exs",),
    locks=("mix.lock",),
)
