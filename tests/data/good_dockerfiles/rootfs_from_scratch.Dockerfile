FROM scratch AS files
COPY etc/ /etc/
COPY bin/ /usr/bin/

FROM debian:bookworm-slim
COPY --from=files / /
CMD ["app"]
