FROM alpine:3.22
RUN --mount=type=cache,target=/etc/apk/cache,sharing=locked apk add --update-cache ca-certificates tzdata
RUN adduser -D -u 10001 app
COPY --chown=10001:10001 app /usr/local/bin/app
USER 10001
ENTRYPOINT ["app"]
