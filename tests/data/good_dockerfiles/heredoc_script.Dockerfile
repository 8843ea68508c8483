FROM debian:bookworm-slim
RUN <<EOF
set -eux
groupadd --gid 1000 app
useradd --uid 1000 --gid app --create-home app
EOF
COPY <<EOF /etc/app.conf
listen = 8080
EOF
USER app
CMD ["sleep", "infinity"]
