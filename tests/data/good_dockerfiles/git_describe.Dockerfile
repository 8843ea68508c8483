# The history is wanted: the version is made of it.
FROM golang:1.24 AS build
WORKDIR /src
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    --mount=type=bind,target=. \
    go build -ldflags "-X main.version=$(git describe --always)" -o /out/app .

FROM scratch
COPY --from=build /out/app /app
