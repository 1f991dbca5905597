"""What a browser is told, and which other pages may call."""

import re

import httpx
import pytest

from app import docs
from app.headers import HEADERS
from app.main import create_app
from app.settings import STATIC_DIR, ApiSettings
from worker.settings import SettingsError, WorkerSettings

pytestmark = pytest.mark.anyio
ORIGIN = "https://paint.example"


async def test_every_answer_is_secured(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page, file, JSON, problem, metrics, nothing at all, and a failure that nobody foresaw."""
    monkeypatch.setattr("app.routers.models._list", lambda _: 1 / 0)
    statuses = set()
    for method, path in (
        *(("GET", path) for path in ("/", "/js/main.js", "/jobs", "/jobs/none", "/metrics", "/nowhere", "/models")),
        ("POST", "/inpaint"),
        ("DELETE", "/inpaint"),
    ):
        answer = await client.request(method, path)
        statuses.add(answer.status_code)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, path
    assert statuses == {200, 400, 404, 405, 500}


async def test_the_docs_need_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    """Swagger UI comes from this host, by relative addresses, and its policy lets in no other script."""
    page = await client.get("/docs")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) == 4
    for address in addresses:
        assert "//" not in address
        assert (await client.get(f"/{address}")).status_code == 200
    assert "SwaggerUIBundle" in (await client.get("/docs/swagger-ui-bundle.js")).text[:500]
    policy = page.headers["content-security-policy"]
    assert "default-src 'self';" in policy
    assert "script-src" not in policy
    assert {f"/{address}" for address in addresses} <= docs.PATHS | {"/favicon.svg"}


def test_the_page_runs_nothing_in_place() -> None:
    """No script and no handler inside the markup, which the policy would stop."""
    markup = (STATIC_DIR / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|javascript:", markup)


async def test_head_is_answered_as_get_without_a_body(client: httpx.AsyncClient) -> None:
    """The same status and headers: lists, files, probes, a thing that is not there, a stream that would not end."""
    for path in ("/models", "/js/main.js", "/healthz", "/metrics", "/openapi.json", "/jobs/none", "/nowhere"):
        read, asked = await client.get(path), await client.head(path)
        assert asked.status_code == read.status_code, path
        assert asked.headers["content-type"] == read.headers["content-type"], path
        assert asked.headers.get("etag") == read.headers.get("etag"), path
        assert not asked.content, path
    assert (await client.head("/inpaint")).status_code == 405


class TestOtherOrigins:
    """CORS."""

    PREFLIGHT = {  # noqa: RUF012 - a constant
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }

    async def test_are_closed_out_by_default(self, client: httpx.AsyncClient) -> None:
        """Nothing allows another page to read an answer, or to ask for more than a plain one."""
        answer = await client.get("/jobs", headers={"Origin": ORIGIN})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert (await client.options("/jobs", headers=self.PREFLIGHT)).status_code == 405

    @pytest.mark.parametrize("allowed", [ORIGIN, "*"])
    async def test_that_are_named_may_call(self, worker_settings: WorkerSettings, allowed: str) -> None:
        """They send keys and read results, never with credentials; others are told nothing."""
        settings = ApiSettings.model_validate({"cors_origins": f"https://other.example, {allowed}", "api_keys": "key"})
        app = create_app(settings, worker_settings)
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as far:
            preflight = await far.options("/inpaint/my-id", headers=self.PREFLIGHT)
            assert preflight.status_code == 200
            assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
            answer = await far.get("/jobs", headers={"Origin": ORIGIN, "X-API-Key": "key"})
            refused = await far.get("/jobs", headers={"Origin": ORIGIN})
            assert (answer.status_code, refused.status_code) == (200, 401)
            for one in (preflight, answer, refused):
                assert one.headers["access-control-allow-origin"] == allowed
                assert "access-control-allow-credentials" not in one.headers
            assert "x-job-id" in answer.headers["access-control-expose-headers"].lower()
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            stranger = await far.get("/jobs", headers={"Origin": "https://evil.example", "X-API-Key": "key"})
            assert stranger.headers.get("access-control-allow-origin") == (None if allowed == ORIGIN else "*")

    @pytest.mark.parametrize("wrong", ["example.org", "https://example.org/", "ftp://x", "https://user@example.org"])
    def test_that_are_none_are_refused(self, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
        """A slip of the pen is said at the start, not found out in a browser."""
        monkeypatch.setenv("CORS_ORIGINS", wrong)
        with pytest.raises(SettingsError, match=r"CORS_ORIGINS: .* is no origin"):
            ApiSettings.read()
