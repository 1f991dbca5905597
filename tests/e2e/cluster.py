"""Several hosts against one broker and one bucket, on this machine: each has a data folder of its own, and, where told
so, a network of its own, whose cable can be pulled.

    python -m tests.e2e.cluster --apis 3 --workers 3 --jobs 300 --namespaces      (root, Linux; some minutes)

Jobs go to all APIs; meanwhile API and worker processes are killed and started again, and a worker's host is cut off.
Then: every accepted job has its result, from every API, right and the same bytes; events cross hosts; totals agree;
what one API puts into service, all workers draw with; a run is trained on yet another host; and nothing is left over.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import boto3
import httpx
import numpy as np
from PIL import Image
from safetensors.numpy import load, save

from models.catalog import SHIPPED, Card
from tests.e2e.materials import write_digits
from tests.e2e.service import form, until
from worker.broker import find_server
from worker.settings import WorkerSettings
from worker.shared import open_catalog, open_storage

_PREFIX = "inpaint-test"  # of the namespaces' names
_HUB = f"{_PREFIX}-hub"
_NETWORK = "10.77.0"


@dataclass
class Host:
    """One process, its folder, and where it is reached."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    namespace: str | None = None
    url: str = ""
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        with Path(self.environment["DATA_DIR"]).with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [*inside, *self.command], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """The process and what it started, at once; or ask it to stop, and wait."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                if number is signal.SIGKILL:
                    os.killpg(self.process.pid, number)
                else:
                    self.process.send_signal(number)
            self.process.wait(60)

    def log(self) -> str:
        return Path(self.environment["DATA_DIR"]).with_suffix(".log").read_text()


class Cluster:
    """Broker, bucket, `apis` and `workers`, below `folder`."""

    def __init__(self, folder: Path, apis: int, workers: int, namespaces: bool = False) -> None:
        self._namespaces = namespaces
        address = f"{_NETWORK}.1" if namespaces else "127.0.0.1"
        ports = [8000, 6379, 9000] if namespaces else _free_ports(apis + 2)
        self.broker_url = f"redis://{address}:{ports[-2]}/0"
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "API_KEYS"},
            "REDIS_URL": self.broker_url,
            "STORAGE_URL": "s3://inpaint/cluster",
            "AWS_ENDPOINT_URL": f"http://{address}:{ports[-1]}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "LEASE_SECONDS": "5",
            "THREADS": "1",
            "LOG_FORMAT": "json",
        }
        broker = [
            str(find_server()),
            "--bind",
            address,
            "--port",
            str(ports[-2]),
            "--save",
            "",
            "--protected-mode",
            "no",
        ]
        self.infrastructure = [
            self._host("broker", folder, broker),
            self._host(
                "bucket", folder, [sys.executable, "-m", "moto.server", "--host", address, "--port", str(ports[-1])]
            ),
        ]
        inpaint = [sys.executable, "-c", "from app.cli import main; main()"]
        self.apis, self.workers = [], []
        for number in range(apis):
            host = self._host(f"api-{number}", folder, [*inpaint, "api"])
            at = f"{_NETWORK}.{10 + number}" if namespaces else "127.0.0.1"
            port = 8000 if namespaces else ports[number]
            host.environment |= {"HOST": at, "PORT": str(port), "ALLOW_ANONYMOUS": "true"}
            host.url = f"http://{at}:{port}"
            self.apis.append(host)
        for number in range(workers):
            self.workers.append(self._host(f"worker-{number}", folder, [*inpaint, "worker", "--name", f"w{number}"]))
        self.trainer = self._host("trainer", folder, [*inpaint, "worker", "training", "--name", "trainer"])
        digits = json.dumps({"digits": str(folder / "digits")})
        for host in (self.trainer, *self.apis):  # the API checks that the name is known; it never looks inside
            host.environment["DATASETS"] = digits
        if namespaces:
            for number, host in enumerate((*self.apis, *self.workers, self.trainer)):
                host.namespace = f"{_PREFIX}-{host.name}"
                _plug_in(host.namespace, f"{_NETWORK}.{10 + number}", f"to-{host.name}")

    def _host(self, name: str, folder: Path, command: Sequence[str]) -> Host:
        data_dir = folder / name
        data_dir.mkdir(parents=True)
        return Host(name, command, {**self.environment, "DATA_DIR": str(data_dir)})

    @contextmanager
    def running(self) -> Iterator["Cluster"]:
        """Started and ready; whatever becomes of it, no process is left."""
        everything = [*self.infrastructure, *self.apis, *self.workers, self.trainer]
        before = dict(os.environ)
        os.environ |= {name: value for name, value in self.environment.items() if name.startswith("AWS_")}
        try:
            for host in self.infrastructure:
                host.start()
            self._wait_for_bucket()
            for host in (*self.workers, *self.apis):
                host.start()
            until(lambda: self.seen_workers() == len(self.workers), 180, lambda: [host.log() for host in everything])
            yield self
        finally:
            for host in reversed(everything):
                host.kill()
            os.environ.clear()
            os.environ.update(before)

    def seen_workers(self) -> int:
        """As each API sees them: the fewest."""
        seen = []
        for api in self.apis:
            try:
                seen.append(len(httpx.get(f"{api.url}/readyz", timeout=5).json()["workers"]))
            except httpx.TransportError:
                seen.append(0)
        return min(seen)

    def metric(self, api: Host, name: str) -> dict[str, float]:
        """Samples of this name, by their labels."""
        lines = httpx.get(f"{api.url}/metrics", timeout=10).text.splitlines()
        return {
            key: float(value) for key, _, value in (line.rpartition(" ") for line in lines if line.startswith(name))
        }

    def settings(self, folder: Path) -> WorkerSettings:
        """As a host of its own would have them."""
        return WorkerSettings(data_dir=folder, storage_url=self.environment["STORAGE_URL"], redis_url=self.broker_url)

    def cable(self, host: Host, plugged: bool) -> None:
        """Cut `host` off from all others, or join it again."""
        _ip("-n", _HUB, "link", "set", f"to-{host.name}", "up" if plugged else "down")

    def _wait_for_bucket(self) -> None:
        def made() -> bool:
            try:
                boto3.client("s3").create_bucket(Bucket="inpaint")
            except Exception:
                return False
            return True

        until(made, 60, self.infrastructure[1].log)


@contextmanager
def networks() -> Iterator[None]:
    """A hub, to which each host's own network is joined; removed afterwards. For root."""
    _remove_networks()
    _ip("netns", "add", _HUB)
    try:
        _ip("-n", _HUB, "link", "set", "lo", "up")
        _ip("-n", _HUB, "link", "add", "br0", "type", "bridge")
        _ip("-n", _HUB, "addr", "add", f"{_NETWORK}.1/24", "dev", "br0")
        _ip("-n", _HUB, "link", "set", "br0", "up")
        yield
    finally:
        _remove_networks()


def _plug_in(namespace: str, address: str, cable: str) -> None:
    _ip("netns", "add", namespace)
    _ip("-n", _HUB, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip("-n", _HUB, "link", "set", cable, "master", "br0", "up")
    _ip("-n", namespace, "link", "set", "lo", "up")
    _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    _ip("-n", namespace, "link", "set", "eth0", "up")


def _remove_networks() -> None:
    for line in _ip("netns", "list").splitlines():
        if line.startswith(_PREFIX):
            _ip("netns", "del", line.split()[0])


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def _free_ports(number: int) -> list[int]:
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def send_jobs(cluster: Cluster, number: int, clients: int = 6) -> list[str]:
    """Ids of `number` pictures, sent to all APIs at once; one that does not answer is given up for the next."""
    files = form()

    def send(job: int) -> str:
        deadline = time.monotonic() + 120
        headers = {"Prefer": "respond-async", "Idempotency-Key": f"job-{job}"}
        while True:
            api = cluster.apis[(job + random.randrange(2)) % len(cluster.apis)]
            with suppress(httpx.TransportError):
                answer = httpx.post(f"{api.url}/inpaint", files=files, headers=headers, timeout=20)
                if answer.status_code in (200, 202):
                    return answer.headers["X-Job-Id"]
                assert answer.status_code in (429, 503), answer.text
            assert time.monotonic() < deadline, "nobody accepts pictures"
            time.sleep(0.2)

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(send, range(number)))


def check_results(cluster: Cluster, jobs: Sequence[str], seconds: float) -> None:
    """Each job has ended well, and any API gives its result: the same bytes, and outside of the hole what was sent."""
    deadline = time.monotonic() + seconds
    contents: set[bytes] = set()
    for number, job in enumerate(jobs):
        api = cluster.apis[number % len(cluster.apis)]
        while (view := httpx.get(f"{api.url}/jobs/{job}", timeout=20).json())["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, view
            time.sleep(0.1)
        assert view["state"] == "succeeded", view
        contents.add(httpx.get(f"{api.url}/jobs/{job}/result", timeout=20).raise_for_status().content)
    for api in cluster.apis:
        contents.add(httpx.get(f"{api.url}/jobs/{jobs[0]}/result", timeout=20).raise_for_status().content)
    assert len(contents) == 1, f"{len(contents)} different results of one picture"
    sent, hole = (np.asarray(Image.open(BytesIO(form()[name][1]))) for name in ("image", "mask"))
    result = np.asarray(Image.open(BytesIO(contents.pop())))
    assert np.array_equal(result[hole == 0], sent[hole == 0])


def check_events(cluster: Cluster) -> None:
    """What is sent to one API is followed at the next to its end."""
    for number, api in enumerate(cluster.apis):
        other = cluster.apis[(number + 1) % len(cluster.apis)]
        job = httpx.post(f"{api.url}/inpaint", files=form(), headers={"Prefer": "respond-async"}, timeout=20).json()[
            "id"
        ]
        with httpx.stream("GET", f"{other.url}/jobs/{job}/events", timeout=60) as stream:
            names = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
        assert (names[0], names[-1]) == ("queued", "succeeded"), names


def check_totals(cluster: Cluster, at_least: int) -> None:
    """Every API tells the same, and all of it."""
    told = [cluster.metric(api, "inpaint_jobs_ended_total") for api in cluster.apis]
    assert all(totals == told[0] for totals in told), told
    ended = {key: value for key, value in told[0].items() if 'kind="inpaint"' in key and value}
    assert list(ended) == ['inpaint_jobs_ended_total{kind="inpaint",reason="",state="succeeded"}'], ended
    assert min(ended.values()) >= at_least


def check_promotion(cluster: Cluster, folder: Path) -> None:
    """New weights, brought by a host that is none of these and put into service at one API, serve at all; every worker
    gets to draw with them."""
    version = _other_digits()
    card, content = version
    open_catalog(cluster.settings(folder)).add(card, content)
    first, *others = cluster.apis
    until(lambda: card.version in str(httpx.get(f"{first.url}/models/{card.name}", timeout=20).json()["versions"]), 5)
    answer = httpx.put(f"{first.url}/models/{card.name}/active", json={"version": card.version}, timeout=20)
    assert answer.status_code == 200, answer.text
    time.sleep(1.1)  # as long as another API may not know it
    seeds = iter(range(10_000))

    def all_have_it() -> bool:
        with ThreadPoolExecutor(2 * len(cluster.workers)) as pool:
            answers = list(
                pool.map(
                    lambda api: httpx.get(f"{api.url}/samples/vanilla-gan?n=1&seed={next(seeds)}", timeout=60),
                    2 * [*others, first],
                )
            )
        assert {answer.headers["X-Model"] for answer in answers} == {card.reference}, answers
        models = httpx.get(f"{others[0].url}/models/{card.name}", timeout=20).json()
        return bool(models["loaded_by"][card.version] == len(cluster.workers))

    until(all_have_it, 60)


def check_training(cluster: Cluster, folder: Path) -> None:
    """A run begun at one API, trained on another host, watched and put into service at a third."""
    write_digits(folder / "digits")
    cluster.trainer.start()
    order = {"family": "vanilla-gan", "dataset": "digits", "overrides": {"name": "digits-cluster", "epochs": 2}}
    run = httpx.post(f"{cluster.apis[0].url}/training-runs", json=order, timeout=20).raise_for_status().json()["id"]
    other = cluster.apis[-1]

    def state() -> str:
        return str(httpx.get(f"{other.url}/training-runs/{run}", timeout=20).raise_for_status().json()["state"])

    until(lambda: state() not in ("queued", "running"), 120, cluster.trainer.log)
    assert state() == "succeeded", cluster.trainer.log()
    preview = f"{other.url}/training-runs/{run}/preview"
    until(lambda: httpx.get(preview, timeout=20).headers["Content-Type"] == "image/png", 5)
    promotion = httpx.post(f"{other.url}/training-runs/{run}/promote", timeout=20).raise_for_status().json()
    time.sleep(1.1)
    drawn = httpx.get(f"{cluster.apis[0].url}/samples/digits-cluster?n=4", timeout=60).raise_for_status()
    assert drawn.headers["X-Model"] == promotion["model"]


def _other_digits() -> tuple[Card, bytes]:
    """Another version of the vanilla GAN that ships."""
    card = Card.model_validate_json((SHIPPED / "vanilla-gan-mnist.json").read_bytes())
    tensors = load((SHIPPED / "vanilla-gan-mnist.safetensors").read_bytes())
    content = save({name: (tensor * np.float32(0.99)).astype(tensor.dtype) for name, tensor in tensors.items()})
    sha256 = hashlib.sha256(content).hexdigest()
    return card.model_copy(update={"sha256": sha256, "created": "2030-01-01"}), content


def check_clean(cluster: Cluster, folder: Path) -> None:
    """Nothing waits, nothing runs, and no picture is left that no job will read."""
    storage = open_storage(cluster.settings(folder))
    until(lambda: not any(cluster.metric(cluster.apis[0], "inpaint_jobs{").values()), 30)
    until(lambda: storage.used("inputs") == 0, 30)


def disturb(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Kill and start again an API and two workers, stop one in good order, cut one off for longer than its lease."""
    api, worker = cluster.apis[-1], cluster.workers[0]
    time.sleep(2)
    say(f"kill -9 {worker.name} and {api.name}")
    worker.kill()
    api.kill()
    time.sleep(3)
    worker.start()
    api.start()
    last = cluster.workers[-1]
    if last.namespace:
        say(f"{last.name} is cut off for 20 s")
        cluster.cable(last, plugged=False)
        time.sleep(20)
        cluster.cable(last, plugged=True)
    time.sleep(3)
    say(f"SIGTERM to {last.name}")
    last.kill(signal.SIGTERM)
    last.start()


def run(folder: Path, apis: int, workers: int, jobs: int, namespaces: bool, say: Callable[[str], None]) -> None:
    """All of it; raises AssertionError."""
    started = time.monotonic()
    with Cluster(folder, apis, workers, namespaces).running() as cluster:
        say(f"{apis} APIs and {workers} workers are ready after {time.monotonic() - started:.1f} s")
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(send_jobs, cluster, jobs)
            disturb(cluster, say)
            ids = sent.result(600)
        until(lambda: cluster.seen_workers() == workers, 120)
        check_results(cluster, ids, 300)
        say(f"{len(ids)} of {jobs} jobs succeeded, the same bytes from every API")
        check_events(cluster)
        check_totals(cluster, jobs)
        say("events cross hosts, totals agree")
        check_promotion(cluster, folder / "elsewhere")
        say("new weights serve on every host")
        check_training(cluster, folder)
        say("a run was trained on a host of its own, and its weights serve on all")
        check_clean(cluster, folder / "elsewhere")
        say(f"queue and bucket are clean; {json.dumps(cluster.metric(cluster.apis[0], 'inpaint_leases_lost_total'))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apis", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--namespaces", action="store_true", help="a network for each host; for root")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.namespaces and not options.inside:
        with networks():  # the broker, the bucket and who asks stand at the hub
            command = [sys.executable, "-m", "tests.e2e.cluster", *sys.argv[1:], "--inside"]
            sys.exit(subprocess.run(["ip", "netns", "exec", _HUB, *command]).returncode)
    with tempfile.TemporaryDirectory(prefix="inpaint-cluster-") as folder:
        run(
            Path(folder),
            options.apis,
            options.workers,
            options.jobs,
            options.namespaces,
            lambda said: print(said, flush=True),
        )


if __name__ == "__main__":
    main()
