# syntax=docker/dockerfile:1
# The server, without a database. `docker build -t tycostream .`; docker-compose.yml shows it at work.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN pip wheel --no-deps --wheel-dir /dist . \
 && python -m venv /opt/tycostream \
 && /opt/tycostream/bin/pip install /dist/*.whl

FROM python:3.13-slim
# Numbers, not names, for orchestrators that insist on a user that is not root (runAsNonRoot).
RUN groupadd --system --gid 10001 tycostream \
 && useradd --system --uid 10001 --gid tycostream --no-create-home --home-dir /nonexistent tycostream
COPY --from=build /opt/tycostream /opt/tycostream
ENV PATH=/opt/tycostream/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 4000
# Alive, not ready: a database that is away is no reason to restart the server. /readyz says what is ready.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
  CMD ["python", "-c", "import os, ssl, urllib.request as r\nurl = '://127.0.0.1:' + os.environ.get('TYCO_PORT', '4000') + '/healthz'\ntry: r.urlopen('http' + url, timeout=2)\nexcept Exception: r.urlopen('https' + url, timeout=2, context=ssl._create_unverified_context())"]
ENTRYPOINT ["tycostream"]
# Without `auth:` the server refuses an address that others can reach, and in a container every address is such a one:
# `server.insecure_public: true` (or TYCO_INSECURE_PUBLIC=true) says that what is in front of it decides.
CMD ["serve", "--config", "/etc/tycostream/tycostream.yaml", "--host", "0.0.0.0"]
