ARG DEBIAN_VERSION=bookworm
FROM debian:${DEBIAN_VERSION}-slim
ARG DEBIAN_FRONTEND=noninteractive
ARG HTTP_PROXY
RUN rm -f /etc/apt/apt.conf.d/docker-clean
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends curl
COPY entrypoint.sh /usr/local/bin/
ARG GIT_SHA
ARG BUILD_DATE
LABEL org.opencontainers.image.revision=$GIT_SHA \
      org.opencontainers.image.created=$BUILD_DATE
ENTRYPOINT ["entrypoint.sh"]
