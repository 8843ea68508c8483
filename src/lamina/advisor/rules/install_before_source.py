"""---
title: Install Dependencies Before Copying the Source
impact: HIGH
impactDescription: dependencies are installed again only when their manifests change
tags: layer-order, npm, yarn, pnpm, pip, uv, poetry, pdm, bundler, composer, go, maven, gradle
---

## Install Dependencies Before Copying the Source

A step runs again when any file above it has changed. Below `COPY . .` that is every file of the
project, so an install of dependencies runs again for a changed comment in the source. It wants a
few files only, the manifests and their locks: copied first, they keep the install cached until one
of them changes.

The fix copies the manifests that lie in the build context, moves the broad `COPY` below the
install, and splits a `RUN` that does more than install. Where an install takes the project itself
along (uv, poetry, pdm, composer), its dependencies are installed first, without it. What the
manifests say (scripts that run at an install, dependencies that are folders of the project) may
need the source: then the order is yours to find.

**Incorrect (any change of the source installs everything again):**

```dockerfile
# syntax=docker/dockerfile:1
FROM node
WORKDIR /app
COPY . .
RUN npm install
RUN npm build
```

```json package.json
{"name": "app", "dependencies": {"express": "^5.0.0"}}
```

```files
yarn.lock 100
src/index.js 20
```

**Correct (the install sees the manifests only):**

```dockerfile
# syntax=docker/dockerfile:1
FROM node
WORKDIR /app
COPY package.json yarn.lock .
RUN npm install
COPY . .
RUN npm build
```

**Incorrect (one RUN installs and builds):**

```dockerfile
FROM node:22-slim
WORKDIR /app

# the whole project
COPY --chown=node:node . .

RUN npm ci && \\
    npm run build
CMD ["node", "dist/index.js"]
```

```json package.json
{"name": "app", "dependencies": {"express": "^5.0.0"}}
```

```files
package-lock.json 100
src/index.js 20
```

**Correct (it is split where the source is needed):**

```dockerfile
FROM node:22-slim
WORKDIR /app

COPY --chown=node:node package.json package-lock.json .

RUN npm ci

# the whole project
COPY --chown=node:node . .
RUN npm run build
CMD ["node", "dist/index.js"]
```

**Incorrect (requirements below the source):**

```dockerfile
FROM python:3.12-slim
COPY . /srv
WORKDIR /srv
RUN pip install --upgrade pip
RUN pip install -r requirements/prod.txt
CMD ["python", "-m", "app"]
```

```text requirements/prod.txt
-r base.txt
gunicorn==23.0.0
```

```text requirements/base.txt
flask==3.1.0
```

```files
app/__main__.py 20
```

**Correct (with those that they include):**

```dockerfile
FROM python:3.12-slim
COPY requirements/prod.txt requirements/base.txt /srv/requirements/
WORKDIR /srv
RUN pip install --upgrade pip
RUN pip install -r requirements/prod.txt
COPY . /srv
CMD ["python", "-m", "app"]
```

**Incorrect (the project is installed along with its dependencies):**

```dockerfile
FROM python:3.12-slim
COPY --from=ghcr.io/astral-sh/uv:0.8 /uv /bin/
WORKDIR /app
COPY . .
RUN uv sync --locked
```

```toml pyproject.toml
[project]
name = "app"
version = "1.0"
dependencies = ["flask"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
```

```files
uv.lock 100
src/app/__init__.py 20
```

**Correct (first without it):**

```dockerfile
FROM python:3.12-slim
COPY --from=ghcr.io/astral-sh/uv:0.8 /uv /bin/
WORKDIR /app
COPY pyproject.toml uv.lock .
RUN uv sync --locked --no-install-project
COPY . .
RUN uv sync --locked
```

**Incorrect (projects in folders):**

```dockerfile
FROM mcr.microsoft.com/dotnet/sdk:9.0
WORKDIR /src
COPY . .
RUN dotnet restore
RUN dotnet publish -c Release -o /out
```

```xml api/api.csproj
<Project Sdk="Microsoft.NET.Sdk.Web"/>
```

```xml core/core.csproj
<Project Sdk="Microsoft.NET.Sdk"/>
```

```text shop.sln
Microsoft Visual Studio Solution File
```

```files
api/Program.cs 20
core/Order.cs 20
```

**Correct (every manifest where it belongs):**

```dockerfile
FROM mcr.microsoft.com/dotnet/sdk:9.0
WORKDIR /src
COPY shop.sln .
COPY api/api.csproj api/
COPY core/core.csproj core/
RUN dotnet restore
COPY . .
RUN dotnet publish -c Release -o /out
```

Reference: [Optimize cache usage: order your layers](https://docs.docker.com/build/cache/optimize/#order-your-layers)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.advisor.reordering import Late, late_installs, reordered

RULE = "install-before-source"


def check(project: Project) -> Iterator[Finding]:
    """Installs below a COPY of the whole source."""
    for late in late_installs(project):
        yield Finding(
            rule=RULE,
            span=late.copy.place.command.span,
            message=_message(late),
            reason=f"the install may need more than its manifests: {late.obstacle}"
            if late.obstacle
            else "",
            fix=reordered(project, late),
        )


def _message(late: Late) -> str:
    one = late.wanted[0]
    line = late.last.command.span.line
    files = ", ".join(one.found.files[:2]) if one.found is not None else "its manifests"
    return (
        f"every change of the source installs the dependencies of {one.install.tool} again (line"
        f" {line}), though {files} would do: copy them first"
    )
