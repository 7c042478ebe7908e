# Everything that decides what ships: sweeps, evaluations, gates, index builds; a worker of Ray too.
#     docker build -f infra/docker/harness.Dockerfile --build-arg VERSION=0.1.0 --build-arg COMMIT=$(git rev-parse HEAD) -t touchstone-harness .
# BASE, mirrors and certificates: as in serving.Dockerfile.
ARG BASE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG UV=0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1 UV_PROJECT_ENVIRONMENT=/opt/touchstone/venv
SHELL ["/bin/sh", "-eu", "-c"]
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --quiet "uv==${UV}"
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN --mount=type=secret,id=uv --mount=type=secret,id=ca \
    if [ -f /run/secrets/uv ]; then export UV_CONFIG_FILE=/run/secrets/uv; fi; \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    /opt/uv/bin/uv sync --locked --no-install-project --no-default-groups --group models --group cluster \
      --extra harness --extra bedrock --extra providers --extra redis --extra pii --extra ragas --extra deepeval --extra ray
COPY serving serving
COPY harness harness
COPY touchstone touchstone
COPY prompts prompts
RUN --mount=type=secret,id=uv --mount=type=secret,id=ca \
    if [ -f /run/secrets/uv ]; then export UV_CONFIG_FILE=/run/secrets/uv; fi; \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    /opt/uv/bin/uv pip install --python /opt/touchstone/venv --no-deps .

FROM ${BASE}
COPY --from=build /opt/touchstone /opt/touchstone
WORKDIR /project
COPY mlproject.yml MLproject python_env.yaml pyproject.toml ./
COPY prompts prompts
COPY experiments experiments
COPY datasets datasets
ARG VERSION=0
ARG COMMIT=unknown
RUN mkdir -p /work /project/reports && chown 10001:10001 /work /project/reports
LABEL org.opencontainers.image.title="touchstone-harness" \
      org.opencontainers.image.description="Sweeps, proves, gates and promotes configurations for answering from documents." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
ENV PATH=/opt/touchstone/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/work \
    TOUCHSTONE_HOME=/work/home \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true \
    RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
# A task that ends, not a service: nothing to ask for its health
HEALTHCHECK NONE
ENTRYPOINT []
CMD ["touchstone", "doctor"]
