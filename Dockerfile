# One image, many commands: `worker checkpoint`, `worker resume`, `worker sweeper`, `worker flower`, `migrate`.
FROM python:3.12-slim

WORKDIR /app
COPY requirements.txt pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt
COPY shared shared
COPY workers workers
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
    && useradd --system --uid 10001 checkpoints

USER checkpoints
ENTRYPOINT ["checkpoints"]
