FROM fedora:41
RUN --mount=type=cache,target=/var/cache/libdnf5,sharing=locked dnf install -y gcc make
WORKDIR /src
COPY Makefile .
COPY src src
RUN make
