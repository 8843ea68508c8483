r"""---
title: Use cache mounts for cargo
impact: HIGH
impactDescription: crates are downloaded once, and only those that changed are compiled
tags: dep, cache-mount, cargo, rust
---

cargo keeps what it downloads below `CARGO_HOME`, and what it compiled in `target` of the
project. The second is worth far more than the first, but is not in the image where it is a
mount: the program has to be copied out of it by the same step, as below. Where something else
reads `target`, only the downloads are mounted.

**Incorrect (downloads and compiles every crate again):**

```dockerfile
FROM rust:1.85 AS build
WORKDIR /app
COPY . .
RUN cargo build --release && cp target/release/hello /bin/hello

FROM debian:bookworm-slim
COPY --from=build /bin/hello /bin/hello
```

**Correct (the program is copied out of the mount):**

```dockerfile
FROM rust:1.85 AS build
WORKDIR /app
COPY . .
RUN --mount=type=cache,target=/app/target \
    --mount=type=cache,target=/usr/local/cargo/git/db \
    --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release && cp target/release/hello /bin/hello

FROM debian:bookworm-slim
COPY --from=build /bin/hello /bin/hello
```

**Incorrect (the program is read out of `target` by another stage):**

```dockerfile
FROM rust:1.85 AS build
WORKDIR /app
COPY . .
RUN cargo build --release

FROM debian:bookworm-slim
COPY --from=build /app/target/release/hello /bin/hello
```

**Correct (so only the downloads are mounted):**

```dockerfile
FROM rust:1.85 AS build
WORKDIR /app
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/git/db \
    --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release

FROM debian:bookworm-slim
COPY --from=build /app/target/release/hello /bin/hello
```

See also: [`cache-mount-sharing`](cache-mount-sharing.md)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.rust import target_folder
from lamina.advisor.tools.native import CARGO


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(
        project,
        CARGO,
        rule="use-cache-mount-cargo",
        before=lambda place, uses: target_folder(project, place, uses),
    )
