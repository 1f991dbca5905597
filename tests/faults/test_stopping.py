"""An API that is asked to stop while somebody waits."""

import signal
import tempfile
import threading
from pathlib import Path

import httpx

from tests.e2e.service import form
from tests.faults.api import serving


def test_who_waits_is_told_the_job_before_the_api_stops() -> None:
    """SIGTERM: a request that waits for its picture is answered 202 with the job, and a stream of events ends as it
    should; neither is cut off with a 500."""
    # Not pytest's tmp_path: the path of the broker's socket must stay below 100 characters.
    with tempfile.TemporaryDirectory(prefix="inpaint-stop-") as folder, serving(Path(folder), worker=False) as api:
        answers: list[httpx.Response] = []

        def wait() -> None:
            answers.append(httpx.put(f"{api.url}/inpaint/waits", files=form(), timeout=60))

        def follow() -> None:
            answers.append(httpx.get(f"{api.url}/jobs/followed/events", timeout=60))

        headers = {"Prefer": "respond-async"}
        assert httpx.put(f"{api.url}/inpaint/followed", files=form(), headers=headers, timeout=60).status_code == 202
        threads = [threading.Thread(target=wait), threading.Thread(target=follow)]
        for thread in threads:
            thread.start()
        while httpx.get(f"{api.url}/jobs/waits").status_code == 404:
            assert threads[0].is_alive()
        assert api.stop() == -signal.SIGTERM  # uvicorn ends by the signal, after all else
        for thread in threads:
            thread.join(30)
        assert sorted(answer.status_code for answer in answers) == [200, 202]
        assert "event: queued" in next(answer.text for answer in answers if answer.status_code == 200)
