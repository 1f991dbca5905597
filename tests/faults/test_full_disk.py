"""An API whose disk is full: files beyond a megabyte cannot be written."""

import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.faults.api import Api, serving
from tests.faults.corpus.case import HOLE, saved
from worker.connection import connect
from worker.ledger import Ledger

BOX = ",".join(map(str, HOLE))


@pytest.fixture
def api() -> Iterator[Api]:
    # Not pytest's tmp_path: the path of the broker's socket must stay below 100 characters.
    with tempfile.TemporaryDirectory(prefix="inpaint-full-") as folder, serving(Path(folder)) as api:
        yield api


def test_what_cannot_be_kept_is_refused_in_words(api: Api) -> None:
    """A picture that cannot be stored, or an upload that cannot even be held: 503 with Retry-After, nothing accepted,
    nothing left; a small one is completed meanwhile, and all are when there is room again."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    small, plain, upload = saved(noise[:40, :60]), saved(np.zeros_like(noise)), saved(noise)
    assert len(plain) < 1 << 20 < len(upload)  # the upload is spooled to the disk, the plain one's pixels are stored

    def send(image: bytes) -> httpx.Response:
        return httpx.post(f"{api.url}/inpaint", files={"image": image}, data={"box": BOX}, timeout=60)

    before = resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    for image in (plain, upload):
        answer = send(image)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:inpaint:problem:storage-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert "Nothing was accepted" in answer.json()["detail"]
    with connect(api.settings.redis_url) as client:
        assert Ledger(client, api.settings).recent() == []
    assert [path for path in api.settings.storage_dir.rglob("*") if path.is_file()] == []
    assert send(small).status_code == 200
    resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, before)
    assert [send(image).status_code for image in (plain, upload)] == [200, 200]
