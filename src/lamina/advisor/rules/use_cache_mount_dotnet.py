r"""---
title: Use a cache mount for NuGet
impact: MEDIUM-HIGH
impactDescription: packages are downloaded once, not on every change of a project file
tags: dep, cache-mount, dotnet, nuget
---

`dotnet restore` downloads packages into `~/.nuget/packages`, and every later command reads them
there. So each step that runs dotnet gets the same mount, or none does.

**Incorrect (downloads every package again):**

```dockerfile
FROM mcr.microsoft.com/dotnet/sdk:8.0 AS build
WORKDIR /src
COPY app.csproj .
RUN dotnet restore
COPY . .
RUN dotnet publish --no-restore -o /app

FROM mcr.microsoft.com/dotnet/aspnet:8.0
COPY --from=build /app /app
ENTRYPOINT ["dotnet", "/app/app.dll"]
```

**Correct (the same mount for every step):**

```dockerfile
FROM mcr.microsoft.com/dotnet/sdk:8.0 AS build
WORKDIR /src
COPY app.csproj .
RUN --mount=type=cache,target=/root/.nuget/packages \
    dotnet restore
COPY . .
RUN --mount=type=cache,target=/root/.nuget/packages \
    dotnet publish --no-restore -o /app

FROM mcr.microsoft.com/dotnet/aspnet:8.0
COPY --from=build /app /app
ENTRYPOINT ["dotnet", "/app/app.dll"]
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.native import DOTNET


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, DOTNET, rule="use-cache-mount-dotnet")
