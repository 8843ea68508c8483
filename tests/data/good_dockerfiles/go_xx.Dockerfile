FROM --platform=$BUILDPLATFORM tonistiigi/xx:1.6.1 AS xx

FROM --platform=$BUILDPLATFORM golang:1.24-alpine AS build
COPY --from=xx / /
ARG TARGETPLATFORM
WORKDIR /src
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    --mount=type=bind,target=. \
    xx-go build -o /out/app . && xx-verify /out/app

FROM scratch
COPY --from=build /out/app /
ENTRYPOINT ["/app"]
