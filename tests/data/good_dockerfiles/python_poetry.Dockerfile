FROM python:3.12-slim
RUN --mount=type=cache,target=/root/.cache/pip pip install poetry==2.1.0
WORKDIR /app
COPY pyproject.toml poetry.lock ./
RUN --mount=type=cache,target=/root/.cache/pypoetry/cache \
    --mount=type=cache,target=/root/.cache/pypoetry/artifacts \
    poetry install --no-root
COPY . .
RUN poetry install --only-root
CMD ["poetry", "run", "app"]
