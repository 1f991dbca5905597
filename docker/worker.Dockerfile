# syntax=docker/dockerfile:1
# The workers, inference and training. Build from the root of the repository:
#   docker build -f docker/worker.Dockerfile -t inpaint-worker:local-cuda .
#   docker build -f docker/worker.Dockerfile -t inpaint-worker:local-cpu --build-arg DEVICE=cpu .
FROM python:3.13-slim-trixie AS build
# cuda: the package index's own build, which brings CUDA along. cpu: PyTorch's index of builds without it.
ARG DEVICE=cuda
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/inpaint
# torch by itself: the largest layer, and the one that changes least.
RUN if [ "$DEVICE" = cpu ]; then set -- --index-url "$CPU_INDEX"; fi \
    && /opt/inpaint/bin/pip install "$@" torch==2.14.1 torchvision==0.29.1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY models models
COPY worker worker
# Versions are pyproject.toml's.
# hadolint ignore=DL3013
RUN /opt/inpaint/bin/pip install '.[worker,training,s3]' \
    && /opt/inpaint/bin/python -c "import worker.handlers"

FROM python:3.13-slim-trixie
ARG DEVICE=cuda
# With a C compiler preset `gpu` trains a third faster: torch.compile builds its launchers by one.
# hadolint ignore=DL3008
RUN if [ "$DEVICE" = cuda ]; then \
        apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin inpaint \
    && install -d -o inpaint -g inpaint /data
COPY --from=build /opt/inpaint /opt/inpaint
USER 10001
WORKDIR /data
ENV PATH=/opt/inpaint/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    DATA_DIR=/data LOG_FORMAT=json NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME /data
# The age of the worker's own announcement, which goes on while it computes; Celery's `inspect ping` calls a busy worker
# dead.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s CMD ["inpaint", "worker", "inference", "--check"]
CMD ["inpaint", "worker", "inference"]
