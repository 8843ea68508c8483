FROM ubuntu:24.04
RUN rm -f /etc/apt/apt.conf.d/docker-clean
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends git zsh
ARG USERNAME=dev
ARG UID=1001
RUN useradd --create-home --uid $UID $USERNAME
USER $USERNAME
WORKDIR /workspaces
