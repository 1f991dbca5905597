"""What is done for each kind of job: from leased work to results in storage. Imports torch."""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

import numpy as np
import torch
from celery.exceptions import SoftTimeLimitExceeded

import models.dcgan.sample
import models.vanilla_gan.sample
from models.catalog import UnknownModelError
from models.dcgan.network import Generator as Dcgan
from models.engine import CompletionEngine
from models.glcic.complete import Cancelled, Completed, CompletionTask, complete_many
from models.glcic.geometry import dilate
from models.loading import WeightsError
from worker.codecs.encode import Begun, begin_encoding, encode
from worker.connection import OUTAGES
from worker.contracts import Failure, InpaintRequest, Result, SampleRequest
from worker.images import MEDIA_TYPES, ImageError, Picture, unpack, with_completed
from worker.logs import bound
from worker.networks import Networks
from worker.storage import MissingObjectError, Storage, StorageUnavailableError
from worker.work import DeviceFailedError, Work, trace_id

NPY: Final = "application/x-npy"
"""Media type of stored samples: an array (n, H, W, C) uint8 as numpy writes it."""

_ABREAST: Final = 2
"""Pictures side by side on a CPU: more gain nothing on two cores, and need more memory."""

_BATCH: Final = 2
"""A batch has no more pixels than so many of the largest pictures."""

_TAKING_SECONDS: Final = 1.0
"""For so long pictures are taken along; then it is anybody's turn."""

_log = logging.getLogger(__name__)

More = Callable[[int], list[Work]]
"""Takes up to so many more jobs of the same kind that wait."""


class Handler(Protocol):
    """What is done for one kind of job."""

    def run(self, work: Work, more: More) -> None:
        """Settle `work`, and what it takes along by `more`; one that fails does so alone."""
        ...


class Completion:
    """`inpaint`: complete pictures, several at once: in one batch where the device gains by it, else side by side."""

    def __init__(self, networks: Networks, storage: Storage, max_pixels: int) -> None:
        self._networks = networks
        self._storage = storage
        self._max_pixels = max_pixels
        self._taking = threading.Lock()
        self._room = _Room(max_pixels)

    def run(self, work: Work, more: More) -> None:
        with settling_failures(work):
            limit = self._networks.engine(_inpaint_request(work).model).batch_limit
        if work.settled:
            return
        if limit > 1:
            works = [work, *more(limit - 1)]
            for each in works:
                each.batch = len(works)
            self._run_batch(works)
        elif beside := more(_ABREAST - 1):
            self._run_abreast([work, *beside], more)
        else:
            self._run_batch([work])

    def _run_abreast(self, works: Sequence[Work], more: More) -> None:
        """Two pictures side by side, each with a network run of its own, and what follows them (decision 39)."""
        until = time.monotonic() + _TAKING_SECONDS
        taken = list(works)

        def follow() -> list[Work]:
            with self._taking:
                following = more(1) if time.monotonic() < until else []
                taken.extend(following)
            return following

        # Threads that are gone afterwards: where there are more than cores, libgomp has none of them spin, and a
        # picture alone would take a fifth longer.
        with ThreadPoolExecutor(len(works), "lane") as lanes:
            ends = [lanes.submit(self._run_lane, work, len(works), follow) for work in works]
            try:
                for end in ends:
                    end.result()
            except SoftTimeLimitExceeded:
                for work in taken:
                    work.lose()  # which one is too slow shows when each runs alone; here they stop at the next step
                raise

    def _run_lane(self, work: Work, beside: int, follow: Callable[[], list[Work]]) -> None:
        following = [work]
        while following:
            (work,) = following
            work.batch = beside
            with bound(job=work.job.id, trace=trace_id(work.job)):
                self._run_batch([work])
            following = follow()

    def _run_batch(self, works: Sequence[Work]) -> None:
        group: list[_Picture] = []
        for work in works:
            with settling_failures(work):
                picture = self._load(work)
                if group and not self._fits(picture, group):
                    self._complete(group)
                    group = []
                group.append(picture)
        self._complete(group)

    def _load(self, work: Work) -> "_Picture":
        request = _inpaint_request(work)
        started = time.perf_counter()
        engine = self._networks.engine(request.model)
        elsewhere = self._networks.engine(request.elsewhere) if request.elsewhere else None
        picture, mask = unpack(self._storage.view(request.inputs_key))
        mask = dilate(mask, request.dilate)
        begun = begin_encoding(picture, request.format, request.quality, mask)
        timings = {"load": time.perf_counter() - started}
        return _Picture(work, request, engine, elsewhere, picture, mask, begun, timings)

    def _fits(self, picture: "_Picture", group: Sequence["_Picture"]) -> bool:
        pixels = sum(other.mask.size for other in group) + picture.mask.size
        return picture.engine is group[0].engine and pixels <= _BATCH * self._max_pixels

    def _complete(self, group: Sequence["_Picture"]) -> None:
        if not group:
            return
        try:
            with self._room.holding(sum(picture.mask.size for picture in group)):
                started = time.perf_counter()
                outcomes = complete_many([picture.task() for picture in group], group[0].engine)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            if len(group) == 1:
                settle_failure(group[0].work, error)
                return
            _log.warning("%d pictures at once failed, each is tried alone: %s", len(group), error)
            for picture in group:
                self._complete([picture])
            return
        seconds = time.perf_counter() - started
        for picture, outcome in zip(group, outcomes, strict=True):
            with settling_failures(picture.work):
                if isinstance(outcome, Exception):
                    raise outcome
                picture.timings["complete"] = seconds
                self._finish(picture, outcome)

    def _finish(self, picture: "_Picture", completed: Completed) -> None:
        request, timings = picture.request, picture.timings
        started = time.perf_counter()
        result = with_completed(picture.picture, completed.pixels, picture.mask)
        begun = picture.begun
        content = begun.finish(result.pixels) if begun else encode(result, request.format, request.quality)
        timings["encode"] = time.perf_counter() - started
        key = f"results/{picture.work.job.id}"
        self._storage.put(key, content)
        timings["store"] = time.perf_counter() - started - timings["encode"]
        width, height = result.size
        picture.work.succeed(
            Result(
                key=key,
                media_type=MEDIA_TYPES[request.format],
                model=picture.drawn_by(completed),
                width=width,
                height=height,
                changed=np.count_nonzero(picture.mask) / picture.mask.size,
                timings=timings,
            )
        )


class _Room:
    """So many pixels are completed at once; a larger picture alone. Threads wait their turn."""

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def holding(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._free == self._all or pixels <= self._free)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


@dataclass(frozen=True)
class _Picture:
    """One job on its way through `Completion`."""

    work: Work
    request: InpaintRequest
    engine: CompletionEngine
    elsewhere: CompletionEngine | None
    picture: Picture
    mask: np.ndarray
    """(H, W) bool, dilated."""
    begun: Begun | None
    timings: dict[str, float] = field(default_factory=dict)

    def task(self) -> CompletionTask:
        return CompletionTask(
            self.picture.rgb,
            self.mask,
            self.request.strategy.value,
            self.request.blend.value,
            self._tell,
            self.work.cancelled,
            self.elsewhere,
        )

    def _tell(self, done: int, total: int) -> None:
        if done < total:  # the result itself tells the last step, and most pictures have no other
            self.work.progress(done, total)

    def drawn_by(self, completed: Completed) -> str:
        """`NAME@VERSION` of the model that drew, or of both; of the first where there was nothing to draw."""
        request, engines = self.request, completed.engines
        drew = [request.model] if self.engine in engines or not engines else []
        if request.elsewhere is not None and self.elsewhere in engines:
            drew.append(request.elsewhere)
        return ", ".join(drew)


class Sampling:
    """`sample`: draw pictures from a generator."""

    def __init__(self, networks: Networks, storage: Storage) -> None:
        self._networks = networks
        self._storage = storage

    def run(self, work: Work, more: More) -> None:  # noqa: ARG002 - a request is a batch already
        with settling_failures(work):
            self._draw(work)

    def _draw(self, work: Work) -> None:
        request = cast(SampleRequest, work.job.request)
        started = time.perf_counter()
        network = self._networks.generator(request.model)
        loaded = time.perf_counter()
        chosen, device = (request.n, request.seed, request.interpolate), self._networks.device
        if isinstance(network, Dcgan):
            pictures = models.dcgan.sample.draw(network, *chosen, device)
        else:
            pictures = models.vanilla_gan.sample.draw(network, *chosen, device)
        drawn = time.perf_counter()
        file = io.BytesIO()
        np.save(file, pictures, allow_pickle=False)
        key = f"results/{work.job.id}"
        self._storage.put(key, file.getvalue())
        timings = {"load": loaded - started, "draw": drawn - loaded, "store": time.perf_counter() - drawn}
        _, height, width, _ = pictures.shape
        work.succeed(Result(key=key, media_type=NPY, model=request.model, width=width, height=height, timings=timings))


@contextmanager
def settling_failures(work: Work) -> Iterator[None]:
    """What is raised inside ends this job, and nothing else; the time limit, or a broker, storage or device that is
    away, ends the task."""
    try:
        yield
    except (SoftTimeLimitExceeded, StorageUnavailableError, DeviceFailedError, *OUTAGES):
        raise
    except Exception as error:
        settle_failure(work, error)


def settle_failure(work: Work, error: Exception) -> None:
    """End the job as `error` says: cancelled, or failed. Raises DeviceFailedError: after an error of CUDA's own a
    process gets no other answer from the device."""
    if isinstance(error, torch.AcceleratorError):
        raise DeviceFailedError(str(error)) from error
    if isinstance(error, Cancelled):
        work.acknowledge_cancel()
    else:
        work.fail(failure_for(error, work.job.id))


def failure_for(error: Exception, job_id: str) -> Failure:
    """What to tell the person who sent the job."""
    match error:
        case MissingObjectError():
            return Failure(type="expired", detail="The picture was no longer in storage. Send it again.")
        case UnknownModelError() | WeightsError():
            return Failure(type="model-unavailable", detail=str(error))
        case ImageError():
            return Failure(type="bad-input", detail=str(error))
        case torch.OutOfMemoryError() | MemoryError():
            return Failure(type="out-of-memory", detail="The worker has too little memory for it. Send a smaller one.")
    _log.error("Job %s failed unexpectedly", job_id, exc_info=error)
    return Failure(type="internal", detail=f"An error that should not happen; the worker's log has it under {job_id}.")


def _inpaint_request(work: Work) -> InpaintRequest:
    return cast(InpaintRequest, work.job.request)
