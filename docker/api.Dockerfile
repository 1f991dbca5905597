# syntax=docker/dockerfile:1
# The API and the page: no torch, no weights. Build from the root of the repository:
#   docker build -f docker/api.Dockerfile -t inpaint-api:local .
FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/inpaint
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY models models
COPY worker worker
# Versions are pyproject.toml's. The API shows the models' cards; what computes holds the weights.
# hadolint ignore=DL3013
RUN /opt/inpaint/bin/pip install '.[s3]' \
    && find /opt/inpaint -name '*.safetensors' -delete \
    && /opt/inpaint/bin/python -c "from importlib.util import find_spec; import app.main; assert not find_spec('torch')"

FROM python:3.13-slim-trixie
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin inpaint \
    && install -d -o inpaint -g inpaint /data
COPY --from=build /opt/inpaint /opt/inpaint
USER 10001
WORKDIR /data
ENV PATH=/opt/inpaint/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    HOST=0.0.0.0 PORT=8000 DATA_DIR=/data LOG_FORMAT=json
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["inpaint", "api"]
