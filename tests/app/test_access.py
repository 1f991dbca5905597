"""Who may call: keys, scopes, whose jobs are whose, and who is kept out where there are no keys."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from typer.testing import CliRunner

from app import docs
from app.access import OPEN
from app.cli import commands
from app.keys import Keyring, Scope, make_key, read_entries
from app.main import create_app
from app.settings import ApiSettings
from tests.app.test_samples import draw
from worker.ledger import Ledger
from worker.settings import SettingsError, WorkerSettings
from worker.storage import Storage

pytestmark = pytest.mark.anyio
Form = dict[str, tuple[str, bytes, str]]
ASYNC = {"Prefer": "respond-async"}
ALICE, BOB, MONITOR, STRANGER = ({"Authorization": f"Bearer {name}-secret"} for name in ("alice", "bob", "mon", "who"))


def entry(name: str, scopes: str) -> str:
    return f"{name}:{scopes}:{hashlib.sha256(f'{name}-secret'.encode()).hexdigest()}"


@pytest.fixture
def settings() -> ApiSettings:
    """Alice may train, Bob may use, `mon` may read the metrics."""
    entries = [entry("alice", "train"), entry("bob", "use"), entry("mon", "metrics")]
    return ApiSettings.model_validate({"api_keys": ",".join(entries)})


@pytest.fixture
def worker_settings(worker_settings: WorkerSettings) -> WorkerSettings:
    return worker_settings.model_copy(update={"queue_limit": 64})


def calls(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route of the application, documented or not."""
    for route in iter_route_contexts(app.routes):
        for method in sorted(getattr(route, "methods", None) or ()):
            yield method, re.sub(r"{[^}]*}", "dcgan", route.path)


class TestEveryRoute:
    """Walks over what the application has, so that a new route cannot be forgotten."""

    async def test_needs_a_key_that_is_known(self, client: httpx.AsyncClient, app: FastAPI) -> None:
        """401, with and without a wrong key, and how to send one; open are health, the page and the description."""
        walked = [call for call in calls(app) if call[1] not in OPEN]
        assert len(walked) >= 20
        for method, path in walked:
            for headers in ({}, STRANGER, {"X-API-Key": "guess"}, {"Authorization": "Basic YTpi"}):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert method == "HEAD" or answer.json()["type"].startswith("urn:inpaint:problem:key-")

    async def test_needs_a_scope(self, client: httpx.AsyncClient, app: FastAPI) -> None:
        """403 for a key that may do something else, before anything is said of what the path names."""
        for method, path in calls(app):
            if path in OPEN:
                continue
            for headers in (BOB,) if path == "/metrics" else (MONITOR,):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 403, (method, path, answer.text)
                assert answer.json()["type"] == "urn:inpaint:problem:key-scope"
                assert "insufficient_scope" in answer.headers["www-authenticate"]

    async def test_that_trains_or_promotes_needs_the_scope_for_it(
        self, client: httpx.AsyncClient, app: FastAPI
    ) -> None:
        """What writes below /training-runs and /models is for `train`; a key of `use` reads there."""
        for method, path in calls(app):
            if path.startswith(("/training-runs", "/models", "/datasets")):
                expected = {403} if method != "GET" else {200, 404}
                assert (await client.request(method, path, headers=BOB)).status_code in expected, (method, path)
                assert (await client.request(method, path, headers=ALICE)).status_code not in (401, 403)

    async def test_opens_nothing_but_what_was_meant(self, client: httpx.AsyncClient, app: FastAPI) -> None:
        """The page loads, so that a person can type the key into it; nothing else is read, and nothing is written."""
        assert {path for _, path in calls(app)} & OPEN == {"/healthz", "/readyz", "/openapi.json", *docs.PATHS}
        for path in ("/", "/js/main.js", "/css/base.css", "/healthz", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 200, path
        for path in ("/nowhere", "/js/none.js", "/jobs/", "/JOBS", "/js//main.js", "/%2e%2e/jobs"):
            assert (await client.get(path)).status_code == 401, path
        assert (await client.post("/")).status_code == 401


async def test_a_stranger_is_refused_before_the_upload(client: httpx.AsyncClient) -> None:
    """Not a byte of the body is read."""

    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("It was read.")
        yield b""

    headers = STRANGER | {"Content-Type": "multipart/form-data; boundary=x", "Expect": "100-continue"}
    assert (await client.post("/inpaint", content=body(), headers=headers)).status_code == 401


@pytest.mark.usefixtures("worker")
async def test_a_key_sees_its_own_jobs_alone(client: httpx.AsyncClient, form: Form) -> None:
    """State, result, events, cancel, the list: another key's job is as unknown as one that never was."""
    job = (await client.post("/inpaint", files=form, headers=ALICE)).headers["x-job-id"]
    for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("POST", "/cancel")):
        theirs = await client.request(method, f"/jobs/{job}{path}", headers=BOB)
        never = await client.request(method, f"/jobs/{'0' * 32}{path}", headers=BOB)
        assert (theirs.status_code, never.status_code) == (404, 404)
        assert theirs.json()["detail"].replace(job, "") == never.json()["detail"].replace("0" * 32, "")
        assert (await client.request(method, f"/jobs/{job}{path}", headers=ALICE)).status_code == 200
    assert (await client.get("/jobs", headers=BOB)).json() == {"jobs": []}
    assert [found["id"] for found in (await client.get("/jobs", headers=ALICE)).json()["jobs"]] == [job]


async def test_two_keys_of_one_name_are_one_owner(
    client: httpx.AsyncClient, settings: ApiSettings, worker_settings: WorkerSettings, form: Form
) -> None:
    """So that a key can be replaced by another one, and its jobs stay."""
    job = (await client.post("/inpaint", files=form, headers=ALICE | ASYNC)).json()["id"]
    plain, fresh = make_key("alice", [Scope.USE])
    app = create_app(ApiSettings(api_keys=(*settings.api_keys, fresh)), worker_settings)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as other:
        assert (await other.get(f"/jobs/{job}", headers={"X-API-Key": plain})).status_code == 200


async def test_each_key_chooses_ids_of_its_own(client: httpx.AsyncClient, form: Form, ledger: Ledger) -> None:
    """The same id or Idempotency-Key of two keys names two jobs, and neither learns of the other's."""
    for path, more in (("/inpaint/mine", {}), ("/inpaint", {"Idempotency-Key": "1"})):
        method = "PUT" if path != "/inpaint" else "POST"
        ids = set()
        for key in (ALICE, BOB):
            for _ in range(2):
                answer = await client.request(method, path, files=form, headers=key | ASYNC | more)
                ids.add(answer.json()["id"])
        assert len(ids) == 2
    assert len(ledger.recent("alice")) == len(ledger.recent("bob")) == 2
    shown = (await client.get("/jobs/mine", headers=BOB)).json()
    assert ledger.get(shown["id"]).owner == "bob"
    assert (await client.get(f"/jobs/{shown['id']}", headers=BOB)).json() == shown
    assert (await client.get(f"/jobs/{shown['id']}", headers=ALICE)).status_code == 404


async def test_samples_name_nobody_elses_job(client: httpx.AsyncClient, ledger: Ledger, storage: Storage) -> None:
    """The pictures are the same for all; the job that drew them is each key's own, also when its sheet is kept."""
    named = set()
    for key in (ALICE, BOB, ALICE, BOB):
        job = (await client.get("/samples/dcgan?n=1", headers=key | ASYNC)).headers["x-job-id"]
        if lease := ledger.lease(job, "fake:1"):
            draw(ledger, storage, lease)
        named.add((await client.get("/samples/dcgan?n=1", headers=key)).headers["x-job-id"])
    assert len(named) == 2
    assert {ledger.get(job).owner for job in named} == {"alice", "bob"}


class TestKeys:
    """What the operator keeps."""

    def test_a_key_is_found_by_itself_alone(self) -> None:
        """With its owner and scopes; `train` may also use; a plain key may do everything."""
        keyring = Keyring(read_entries([entry("alice", "train"), entry("bob", "use+metrics"), "plain"]))
        alice, bob, plain = (keyring.find(key) for key in ("alice-secret", "bob-secret", "plain"))
        assert alice is not None
        assert (alice.owner, alice.scopes) == ("alice", {Scope.TRAIN, Scope.USE})
        assert bob is not None
        assert (bob.owner, bob.scopes) == ("bob", {Scope.USE, Scope.METRICS})
        assert plain is not None
        assert plain.scopes == set(Scope)
        for wrong in ("", "alice", "alice-secret ", entry("alice", "train"), entry("alice", "train").split(":")[2]):
            assert keyring.find(wrong) is None

    def test_nothing_shows_a_plain_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither the settings nor what is said about a wrong entry."""
        monkeypatch.setenv("API_KEYS", "my-secret")
        assert "my-secret" not in repr(ApiSettings()) + repr(vars(ApiSettings()))
        monkeypatch.setenv("API_KEYS", "fine,alice:use:my-secret")
        with pytest.raises(SettingsError, match="API_KEYS: Entry 2 is not NAME:SCOPES:SHA256") as error:
            ApiSettings.read()
        assert "my-secret" not in str(error.value)

    @pytest.mark.parametrize("wrong", ["a:use:12", "a:all:" + "0" * 64, "A B:use:" + "0" * 64, ":use:" + "0" * 64])
    def test_an_entry_that_is_none_is_no_plain_key(self, wrong: str) -> None:
        """A slip of the pen must not become a key that everyone can read in the list."""
        with pytest.raises(ValueError, match="Entry 1"):
            read_entries([wrong])

    def test_a_file_holds_keys(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One a line, with comments; `inpaint key --file` adds to it; none at all is refused, and so is no file."""
        file = tmp_path / "keys"
        file.write_text("# of the lab\n\n" + entry("alice", "use"))
        made = CliRunner().invoke(commands, ["key", "bob", "--scope", "train", "--file", str(file)])
        assert made.exit_code == 0, made.output
        plain = made.output.split()[4]
        assert plain not in file.read_text()
        monkeypatch.setenv("API_KEYS_FILE", str(file))
        key = ApiSettings.read().keyring.find(plain)
        assert key is not None
        assert (key.owner, key.scopes) == ("bob", {Scope.USE, Scope.TRAIN})
        assert ApiSettings.read().keyring.find("alice-secret") is not None
        file.write_text("# nobody yet\n")
        with pytest.raises(SettingsError, match=r"API_KEYS_FILE: .* has no entries"):
            ApiSettings.read()
        file.unlink()
        with pytest.raises(SettingsError, match=r"API_KEYS_FILE: .* cannot be read"):
            ApiSettings.read()

    def test_a_fresh_key_is_shown_with_its_entry(self) -> None:
        """The entry lets exactly that key in; no two keys are alike; a name that cannot be one is refused."""
        shown = [CliRunner().invoke(commands, ["key", "carol"]).output.split() for _ in range(2)]
        plains, entries = {words[4] for words in shown}, [words[-1] for words in shown]
        assert len(plains) == 2
        keyring = Keyring(read_entries(entries))
        assert all(keyring.find(plain) for plain in plains)
        assert all(len(plain) >= 43 for plain in plains)
        assert CliRunner().invoke(commands, ["key", "No Name"]).exit_code == 2


class TestPrivate:
    """Without keys, and without ALLOW_ANONYMOUS, whoever started the server."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings()

    async def get(self, app: FastAPI, url: str, method: str = "GET", **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport) as client:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, url, headers=names)

    @pytest.mark.parametrize(
        "url", ["http://192.168.1.7/jobs", "http://[2001:db8::1]/", "http://10.0.0.1:8000/healthz"]
    )
    async def test_nobody_else_is_served(self, app: FastAPI, url: str) -> None:
        """`uvicorn --host 0.0.0.0 --factory app.main:create_app` does not go round the check."""
        answer = await self.get(app, url)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:inpaint:problem:not-open")
        assert "ALLOW_ANONYMOUS=true" in answer.json()["detail"]

    async def test_a_name_of_somebody_elses_is_not_served(self, app: FastAPI) -> None:
        """A page whose name was pointed at 127.0.0.1 after it was loaded reads nothing."""
        assert (await self.get(app, "http://127.0.0.1/", host="evil.example")).status_code == 403
        for name in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "inpaint.localhost"):
            assert (await self.get(app, "http://127.0.0.1/", host=name)).status_code == 200

    async def test_no_host_is_no_fault(self, app: FastAPI) -> None:
        """Half an IPv6 address is refused like a name of somebody else's."""
        assert (await self.get(app, "http://127.0.0.1/", host="[x")).status_code == 403

    async def test_another_sites_page_writes_nothing(self, app: FastAPI) -> None:
        """A link to the page works; a form that another site sends here does not."""
        assert (await self.get(app, "http://127.0.0.1/", sec_fetch_site="cross-site")).status_code == 200
        written = await self.get(app, "http://127.0.0.1/training-runs/x/promote", "POST", sec_fetch_site="cross-site")
        assert (written.status_code, written.json()["type"]) == (403, "urn:inpaint:problem:not-open")
        own = await self.get(app, "http://127.0.0.1/js/main.js", "POST", sec_fetch_site="same-origin")
        assert own.status_code == 405

    async def test_a_word_opens_it(self, worker_settings: WorkerSettings) -> None:
        """ALLOW_ANONYMOUS serves everyone; keys serve who has one."""
        open_to_all = create_app(ApiSettings(allow_anonymous=True), worker_settings)
        assert (await self.get(open_to_all, "http://192.168.1.7/")).status_code == 200
        keyed = create_app(ApiSettings.model_validate({"api_keys": "k"}), worker_settings)
        assert (await self.get(keyed, "http://192.168.1.7/")).status_code == 200
        assert (await self.get(keyed, "http://192.168.1.7/jobs")).status_code == 401
