# The query API: what serves a release, and nothing else.
#     docker build -f infra/docker/serving.Dockerfile --build-arg VERSION=0.1.0 --build-arg COMMIT=$(git rev-parse HEAD) -t touchstone-serving .
# BASE is any image with Python 3.11 to 3.13 and `venv`, the same for building and for running; name it by digest where it is deployed.
# EXTRAS says what the API can do; without `pii` (spaCy, which presidio imports and nothing here asks) a fifth of the packages stays away.
# A mirror or another certificate authority comes as a secret and leaves no trace: --secret id=uv,src=uv.toml --secret id=ca,src=ca.pem
ARG BASE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG UV=0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1 UV_PROJECT_ENVIRONMENT=/opt/touchstone/venv
SHELL ["/bin/sh", "-eu", "-c"]
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --quiet "uv==${UV}"
WORKDIR /src
COPY pyproject.toml uv.lock ./
ARG EXTRAS="serve bedrock providers redis otlp mcp oidc pii uvloop"
RUN --mount=type=secret,id=uv --mount=type=secret,id=ca \
    if [ -f /run/secrets/uv ]; then export UV_CONFIG_FILE=/run/secrets/uv; fi; \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    for extra in ${EXTRAS}; do set -- "$@" --extra "$extra"; done; \
    /opt/uv/bin/uv sync --locked --no-install-project --no-default-groups --group models "$@"
COPY serving /opt/touchstone/app/serving
RUN /opt/touchstone/venv/bin/python -m compileall -q /opt/touchstone/app

FROM ${BASE}
# Packages, code and what it was built of, in this order: a new commit sends and fetches its code again, and not a gigabyte
COPY --from=build /opt/touchstone/venv /opt/touchstone/venv
COPY --from=build /opt/touchstone/app /opt/touchstone/app
ARG VERSION=0
ARG COMMIT=unknown
# Everything that is written lies below /var/lib/touchstone and /tmp: the root may be read-only
RUN mkdir -p /var/lib/touchstone && chown 10001:10001 /var/lib/touchstone
LABEL org.opencontainers.image.title="touchstone-serving" \
      org.opencontainers.image.description="Answers from documents, by a configuration that was proven first." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
ENV PYTHONPATH=/opt/touchstone/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/touchstone \
    TOUCHSTONE_HOME=/var/lib/touchstone \
    TOUCHSTONE_VERSION=${VERSION} \
    TOUCHSTONE_COMMIT=${COMMIT}
WORKDIR /var/lib/touchstone
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/opt/touchstone/venv/bin/python", "-P", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["/opt/touchstone/venv/bin/python", "-P", "-m", "serving.app"]
# Beyond loopback it starts only with keys (TOUCHSTONE_API_KEYS) or an identity provider (TOUCHSTONE_OIDC_ISSUER)
CMD ["--host", "0.0.0.0", "--port", "8080"]
