FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=secret,id=index,env=PIP_INDEX_URL \
    --mount=type=cache,target=/root/.cache/pip \
    pip install -r requirements.txt
COPY app app
CMD ["python", "-m", "app"]
