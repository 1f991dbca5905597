# The workers, inference and training. Build from the root of the repository:
#   docker build -f docker/worker.Dockerfile -t inpaint-worker .                             for CUDA (the package index's own build)
#   docker build -f docker/worker.Dockerfile -t inpaint-worker:cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
FROM python:3.13-slim

ARG TORCH_INDEX=""
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# torch by itself: the largest layer, and the one that changes least.
RUN if [ -n "$TORCH_INDEX" ]; then set -- --index-url "$TORCH_INDEX"; fi \
    && pip install "$@" torch==2.14.1 torchvision==0.29.1

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY models models
COPY worker worker
RUN pip install '.[worker,training]' \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin inpaint \
    && install -d -o inpaint -g inpaint /data

USER 10001
WORKDIR /data
ENV DATA_DIR=/data HOME=/tmp NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME /data
# The age of the worker's own announcement; a worker that computes still announces itself.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s CMD ["inpaint", "worker", "inference", "--check"]
CMD ["inpaint", "worker", "inference"]
