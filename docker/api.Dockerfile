# The API and the page: no torch. Build from the root of the repository:
#   docker build -f docker/api.Dockerfile -t inpaint-api .
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY models models
COPY worker worker
RUN pip install . \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin inpaint \
    && install -d -o inpaint -g inpaint /data

USER 10001
WORKDIR /data
ENV HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["inpaint", "api"]
