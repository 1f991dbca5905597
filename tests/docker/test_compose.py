"""The files an operator starts from: read by Compose's own parser and by linters, and held against the code."""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.registry import Collector

from app.main import create_app
from app.metrics import LedgerCollector, Metrics
from app.settings import ApiSettings
from tests.conftest import BROKER
from worker.connection import connect
from worker.contracts import Failure, InpaintRequest, Result, SampleRequest
from worker.ledger import Ledger, QueueFullError, Room, WorkerInfo
from worker.logs import LogSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
TOOLS = Path(sys.executable).parent
MANY_HOSTS = ("compose.yaml", "many-hosts.yaml")


def compose(
    *files: str, profiles: tuple[str, ...] = (), flags: tuple[str, ...] = (), **variables: str
) -> dict[str, Any]:
    """The project as Compose understands it."""
    command = [str(TOOLS / "docker-compose"), *(part for file in files for part in ("-f", file))]
    command += [part for profile in profiles for part in ("--profile", profile)]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    answer = subprocess.run(
        [*command, "config", "--format", "json", *flags], cwd=DOCKER, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert not answer.stderr, "it warns"
    project: dict[str, Any] = json.loads(answer.stdout)
    return project


def size_of(text: str) -> int:
    """In bytes, of what Docker and the kernel read as `512m` or `1g`."""
    return int(text[:-1]) << {"m": 20, "g": 30}[text[-1]]


@pytest.mark.parametrize(
    ("profile", "services"),
    [
        ("gpu", {"broker", "api", "inference", "training"}),
        ("cpu", {"broker", "api", "inference-cpu", "training-cpu"}),
        ("monitoring", {"broker", "api", "prometheus", "grafana"}),
    ],
)
def test_each_profile_is_a_project(profile: str, services: set[str]) -> None:
    """`docker compose config` takes it without a word, and no variable has to be set."""
    assert set(compose("compose.yaml", profiles=(profile,))["services"]) == services


def test_every_container_is_held_tight() -> None:
    """Read-only, no capabilities, no new privileges, limits, restarted; only the API and Grafana are published, to
    this machine."""
    services = compose("compose.yaml", profiles=("gpu", "cpu", "monitoring"))["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name
        published = service.get("ports", [])
        assert bool(published) == (name in ("api", "grafana")), name
        assert all(port["host_ip"] == "127.0.0.1" for port in published)
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).exists(), name


def test_tmp_has_a_size_and_programs_load_where_torch_compiles() -> None:
    """Docker mounts it without a bound and noexec unless told. The API's holds several of the largest uploads, and is
    at most half of what the API may take."""
    services = compose("compose.yaml", profiles=("gpu", "cpu", "monitoring"))["services"]
    sizes = {}
    for name, service in services.items():
        (mount,) = service["tmpfs"]
        found = re.fullmatch(r"/tmp:(exec,)?mode=1777,size=(\d+[mg])", mount)
        assert found, name
        assert bool(found[1]) == (name == "training"), name
        sizes[name] = size_of(found[2])
        assert sizes[name] <= int(service["deploy"]["resources"]["limits"]["memory"]) / 2, name
    assert sizes["api"] >= 8 * ApiSettings().max_upload_bytes


def test_a_file_of_keys_is_mounted_where_the_api_looks(tmp_path: Path) -> None:
    """And without one, nothing is named that the API would refuse to start without. A name alone is a file beside
    compose.yaml."""
    for named, file in ((str(tmp_path / "keys"), tmp_path / "keys"), ("keys", DOCKER / "keys")):
        api = compose("compose.yaml", API_KEYS_FILE=named)["services"]["api"]
        mounted = {volume["target"]: volume for volume in api["volumes"]}
        assert mounted[api["environment"]["API_KEYS_FILE"]]["source"] == str(file)
        assert mounted[api["environment"]["API_KEYS_FILE"]]["read_only"]
        assert mounted[api["environment"]["API_KEYS_FILE"]]["bind"] == {"create_host_path": False}
    assert not compose("compose.yaml")["services"]["api"]["environment"]["API_KEYS_FILE"]


def test_grafana_is_not_published_with_the_api_and_has_no_known_password() -> None:
    """BIND opens the API alone; the password is a secret that Grafana does not start without."""
    project = compose("compose.yaml", profiles=("monitoring",), BIND="0.0.0.0")
    grafana = project["services"]["grafana"]
    assert [port["host_ip"] for port in grafana["ports"]] == ["127.0.0.1"]
    (secret,) = grafana["secrets"]
    assert secret["target"] == "/run/secrets/grafana_password"
    assert (
        grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == f"$$__file{{{secret['target']}}}"
    )  # as Compose escapes
    assert project["secrets"][secret["source"]]["file"] == str(DOCKER / "secrets/grafana_password")


def test_a_rollback_is_a_tag_and_no_build() -> None:
    """Each image of ours is named by IMAGE_TAG, and no two of them alike."""
    for files in (("compose.yaml",), MANY_HOSTS):
        for tag, variables in (("local", {}), ("1a2b3c4", {"IMAGE_TAG": "1a2b3c4"})):
            services = compose(*files, profiles=("gpu", "cpu"), STORAGE_URL="s3://b", **variables)["services"]
            assert {service["image"] for service in services.values() if "build" in service} == {
                f"inpaint-api:{tag}",
                f"inpaint-worker:{tag}-cuda",
                f"inpaint-worker:{tag}-cpu",
            }


def test_workers_have_the_time_they_need_to_stop() -> None:
    """As long as the longest picture; a GPU is reserved for those that compute on one."""
    from worker.celery_app import SOFT_LIMIT_SECONDS

    services = compose("compose.yaml", profiles=("gpu", "cpu"))["services"]
    for name in ("inference", "training", "inference-cpu", "training-cpu"):
        assert services[name]["stop_grace_period"] == "1m30s"
        gpu = services[name]["deploy"]["resources"].get("reservations", {}).get("devices", [])
        assert bool(gpu) == (not name.endswith("-cpu"))
    assert SOFT_LIMIT_SECONDS < 90


def test_on_many_hosts_nothing_secret_is_in_the_environment() -> None:
    """Broker with TLS and a password, a bucket; passwords and keys are files that containers find in /run/secrets."""
    services = compose(*MANY_HOSTS, profiles=("gpu",), STORAGE_URL="s3://bucket/inpaint")["services"]
    for name in ("api", "inference", "training"):
        assert "REDIS_URL" not in services[name]["environment"]
        assert services[name]["environment"]["STORAGE_URL"] == "s3://bucket/inpaint"
        assert {secret["source"] for secret in services[name]["secrets"]} == {"redis_url", "ca", "aws_credentials"}
        assert "outside" in services[name]["networks"]
    assert "--tls-port 6380" in " ".join(services["broker"]["command"])


def test_many_hosts_may_share_a_folder_in_a_buckets_place(tmp_path: Path) -> None:
    """All that share it have it where STORAGE_URL says, and no credentials are asked for."""
    project = compose(*MANY_HOSTS, profiles=("gpu", "cpu"), STORAGE_URL="/shared", SHARED_DIR=str(tmp_path))
    for name in set(project["services"]) - {"broker"}:
        service = project["services"][name]
        mounted = {volume["target"]: volume for volume in service["volumes"]}
        assert mounted[service["environment"]["STORAGE_URL"]]["source"] == str(tmp_path), name
        assert not mounted["/shared"].get("read_only"), name
        assert "/data" in mounted, name
    assert project["secrets"]["aws_credentials"]["file"] == "/dev/null"
    told = compose(*MANY_HOSTS, STORAGE_URL="s3://b", AWS_CREDENTIALS_FILE="./secrets/aws_credentials")["secrets"]
    assert told["aws_credentials"]["file"] == str(DOCKER / "secrets/aws_credentials")


def test_the_broker_refuses_before_it_is_killed() -> None:
    """A real one takes the command, evicts nothing, and stays below its limit with a quarter of it to spare."""
    broker = compose("compose.yaml")["services"]["broker"]
    # Not pytest's tmp_path: a socket's path must stay below 100 characters.
    with tempfile.TemporaryDirectory(prefix="inpaint-test-") as folder:
        command = [str(BROKER), *broker["command"][1:], "--port 0", "--unixsocket broker.sock"]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            with connect(f"unix://{folder}/broker.sock") as client:
                told = {name: client.config_get(name)[name] for name in ("maxmemory", "maxmemory-policy", "appendonly")}
        finally:
            server.kill()
            server.wait(10)
    assert (told["maxmemory-policy"], told["appendonly"]) == ("noeviction", "yes")
    assert 0 < int(told["maxmemory"]) <= 0.75 * int(broker["deploy"]["resources"]["limits"]["memory"])


def test_the_brokers_memory_is_set_alike_on_one_host_and_on_many() -> None:
    """Both what it may take and what its data may take of it."""
    for files in (("compose.yaml",), MANY_HOSTS):
        services = compose(*files, STORAGE_URL="s3://b", BROKER_MEMORY="4g", BROKER_MAXMEMORY="2800mb")["services"]
        assert "--maxmemory 2800mb" in services["broker"]["command"]
        assert int(services["broker"]["deploy"]["resources"]["limits"]["memory"]) == 4 << 30


def test_settings_are_found_among_the_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the variable's name holds its value."""
    (tmp_path / "redis_url").write_text("rediss://:word@broker:6380/0\n")
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setitem(WorkerSettings.model_config, "secrets_dir", tmp_path)
    assert WorkerSettings().redis_url == "rediss://:word@broker:6380/0"


def test_no_variable_of_the_files_is_unknown_to_the_code() -> None:
    """What compose.yaml sets for our services is a setting of theirs."""
    known = {name.upper() for settings in (ApiSettings, WorkerSettings) for name in settings.model_fields}
    known |= {"LOG_LEVEL", "LOG_FORMAT", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_SHARED_CREDENTIALS_FILE"}
    known |= {"FORWARDED_ALLOW_IPS"}  # uvicorn reads it
    services = compose(*MANY_HOSTS, profiles=("gpu", "cpu"), STORAGE_URL="s3://b")["services"]
    for name in set(services) - {"broker"}:
        assert set(services[name]["environment"]) <= known, name


def test_every_variable_of_the_readme_reaches_the_service_that_reads_it() -> None:
    """What README.md's table tells an operator to set is as they set it, but for what is the container's own."""
    table = (ROOT / "README.md").read_text().partition("## Configuration")[2].partition("With Docker:")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    of_all = {name.upper() for settings in (WorkerSettings, LogSettings) for name in settings.model_fields}
    of_the_api = of_all | {name.upper() for name in ApiSettings.model_fields} | {"FORWARDED_ALLOW_IPS"}
    assert len(told) > 20
    assert told <= of_the_api
    services = compose("compose.yaml", profiles=("gpu", "cpu"), **dict.fromkeys(told, "1"))["services"]
    for name, own in {
        "api": {"HOST", "PORT", "API_KEYS_FILE", "DEVICE"},
        "inference": set(),
        "training": set(),
        "inference-cpu": {"DEVICE"},
        "training-cpu": {"DEVICE"},
    }.items():
        read = told & (of_the_api if name == "api" else of_all) - own - {"DATA_DIR", "REDIS_URL"}
        assert {key: services[name]["environment"].get(key) for key in read} == dict.fromkeys(read, "1"), name


def test_a_variable_that_is_unset_keeps_the_programs_default() -> None:
    """It is not there as an empty string; and none that an image sets is named without a value: Docker would take it
    away."""
    services = compose("compose.yaml", profiles=("gpu", "cpu"))["services"]
    for name in set(services) - {"broker"}:
        environment = services[name]["environment"]
        assert {key for key, value in environment.items() if value == ""} <= {"API_KEYS_FILE"}, name
        of_the_image = re.findall(r"\b([A-Z_]+)=", (ROOT / services[name]["build"]["dockerfile"]).read_text())
        assert not {key for key, value in environment.items() if value is None} & set(of_the_image), name


@pytest.mark.parametrize("files", [("compose.yaml",), MANY_HOSTS])
def test_the_projects_are_lint_free(files: tuple[str, ...], tmp_path: Path) -> None:
    """compose-lint finds nothing of any severity, in what Compose makes of the files."""
    profiles = ("gpu", "cpu", "monitoring")
    # As the files say it: a checkout below /root, a path on the host that linters warn of, is no fault of theirs.
    project = compose(*files, profiles=profiles, flags=("--no-path-resolution",), STORAGE_URL="s3://b")
    rendered = tmp_path / "compose.yaml"
    rendered.write_text(yaml.safe_dump(project))
    command = [str(TOOLS / "compose-lint"), "--config", str(DOCKER / "compose-lint.yml"), "--fail-on", "low"]
    answer = subprocess.run([*command, str(rendered)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


def test_the_images_are_lint_free() -> None:
    """hadolint finds nothing; where it is told to look away, a comment says why."""
    files = sorted(str(path) for path in DOCKER.glob("*.Dockerfile"))
    assert len(files) == 2
    answer = subprocess.run([str(TOOLS / "hadolint"), *files], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


def test_the_worker_image_has_the_torch_that_the_package_wants() -> None:
    """The two places name the same versions."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["worker"]
    text = (DOCKER / "worker.Dockerfile").read_text()
    for name in ("torch", "torchvision"):
        (wanted,) = (extra for extra in extras if extra.startswith(f"{name}=="))
        assert f" {wanted}" in text


def test_images_are_made_of_what_git_knows_alone() -> None:
    """The build context lets nothing in but the package: no data, no keys, no tests."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (DOCKER / "api.Dockerfile").read_text(), re.MULTILINE))
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert {name for names in copied for name in names.split()} == allowed


class TestMonitoring:
    """What the dashboard and the alerts ask for is what the service tells."""

    @pytest.fixture
    def exported(self, redis_url: str, tmp_path: Path) -> set[str]:
        """Names of all samples, after one of everything has happened."""
        settings = WorkerSettings(redis_url=redis_url, data_dir=tmp_path, queue_limit=2)
        with connect(redis_url) as client:
            ledger = Ledger(client, settings)
            picture = InpaintRequest(model="m@00000000", inputs_key="a")
            for job_id, request in (("a", picture), ("b", SampleRequest(model="m@00000000"))):
                ledger.submit(job_id, request)
            with pytest.raises(QueueFullError):
                ledger.submit("c", picture)
            done, lost = ledger.lease("a", "n:1"), ledger.lease("b", "n:1")
            assert done is not None
            assert lost is not None
            result = Result(key="k", media_type="image/png", model="m@00000000", timings={"load": 0.1})
            ledger.succeed(done, result)
            ledger.lose(lost)
            again = ledger.lease("b", "n:1")
            assert again is not None
            ledger.fail(again, Failure(type="internal", detail="x"))
            ledger.announce("n:1", WorkerInfo(id="n:1", queue="inference"), 10)
            ledger.note_room(Room(1, 1, full=False))
            metrics = Metrics()
            metrics.requests.labels("GET", "/", "200").observe(1)
            collector: Collector = LedgerCollector(ledger)
            families: list[Metric] = [*collector.collect(), *metrics.registry.collect()]
        return {sample.name for family in families for sample in family.samples}

    @staticmethod
    def expressions() -> list[str]:
        dashboard = json.loads((DOCKER / "grafana/inpaint.json").read_text())
        rules = yaml.safe_load((DOCKER / "prometheus/alerts.yaml").read_text())
        found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        return found + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]

    def test_every_metric_that_is_asked_for_is_exported(self, exported: set[str]) -> None:
        """And every one of ours is on the dashboard or in an alert."""
        asked = {
            name
            for expression in self.expressions()
            for name in re.findall(r"\b(?:inpaint|process)_[a-z_]+", expression)
        }
        assert asked <= exported
        base = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in asked}
        ours = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exported if name.startswith("inpaint_")}
        assert ours - base == {"inpaint_build_info"}

    def test_the_first_of_what_an_alert_counts_is_not_missed(self, redis_url: str, tmp_path: Path) -> None:
        """While nothing has happened, each series that an alert asks the increase of is there."""
        with connect(redis_url) as client:
            ledger = Ledger(client, WorkerSettings(redis_url=redis_url, data_dir=tmp_path))
            families: list[Metric] = list(LedgerCollector(ledger).collect())
        samples = [sample for family in families for sample in family.samples]
        rules = " ".join(self.expressions())
        asked = re.findall(r"increase\((\w+)(?:\{(.*?)\})?\[10m\]\)", rules)
        assert {name for name, _ in asked} == {"inpaint_jobs_ended_total", "inpaint_leases_lost_total"}
        for name, matchers in asked:
            values = {label: words.split("|") for label, words in re.findall(r'(\w+)=~?"(.*?)"', matchers)}
            for wanted in product(*values.values()):
                labels = dict(zip(values, wanted, strict=True)).items()
                assert any(sample.name == name and labels <= sample.labels.items() for sample in samples), wanted

    def test_a_service_that_is_gone_is_told(self) -> None:
        """All other rules are empty then, and so is `up` of a container that is stopped."""
        configuration = yaml.safe_load((DOCKER / "prometheus/prometheus.yaml").read_text())
        (scrape,) = configuration["scrape_configs"]
        assert f'absent(up{{job="{scrape["job_name"]}"}} == 1)' in self.expressions()

    def test_the_dashboard_is_one(self) -> None:
        """Panels have ids of their own, do not overlap, and ask the data source that is provisioned."""
        dashboard = json.loads((DOCKER / "grafana/inpaint.json").read_text())
        panels = dashboard["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24, panel["title"]
            taken |= cells
        sources = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())
        assert {panel["datasource"]["uid"] for panel in panels} == {sources["datasources"][0]["uid"]}

    def test_the_files_that_containers_are_given_are_there(self) -> None:
        """Each bind mount of the monitoring profile exists, and Prometheus asks the port that the API listens at."""
        services = compose("compose.yaml", profiles=("monitoring",))["services"]
        for name in ("prometheus", "grafana"):
            for volume in services[name]["volumes"]:
                assert volume["type"] == "volume" or Path(volume["source"]).exists(), volume
        configuration = yaml.safe_load((DOCKER / "prometheus/prometheus.yaml").read_text())
        (scrape,) = configuration["scrape_configs"]
        assert scrape["dns_sd_configs"][0]["port"] == services["api"]["ports"][0]["target"]
        assert "/metrics" in create_app().openapi()["paths"]  # Prometheus's default
