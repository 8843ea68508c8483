FROM python:3.12-slim
RUN --mount=type=cache,target=/root/.cache/pip pip install pdm
WORKDIR /app
COPY pyproject.toml pdm.lock ./
RUN --mount=type=cache,target=/root/.cache/pdm pdm sync --prod --no-self
COPY src src
CMD ["pdm", "run", "serve"]
