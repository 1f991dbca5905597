"""The page and the docs of a service with keys, in a real browser."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Page, Route, expect

from app.main import create_app
from app.settings import ApiSettings
from app.supervisor import listen
from tests.e2e.service import until
from worker.settings import WorkerSettings

KEY = "a-key-for-the-lab"


@pytest.fixture
def keyed(redis_url: str, tmp_path: Path) -> Iterator[str]:
    """The address of an API with one key; no worker stands behind it."""
    settings = ApiSettings.model_validate({"api_keys": KEY})
    app = create_app(settings, WorkerSettings(redis_url=redis_url, data_dir=tmp_path))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: server.started, 10)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


def test_a_person_types_the_key_into_the_page(open_page: Callable[..., Page], keyed: str) -> None:
    """The page loads without one, asks for it, says so when it is wrong, and works when it is right."""
    page = open_page()
    page.goto(f"{keyed}/#/models")
    dialog = page.locator("#key-dialog")
    expect(dialog).to_contain_text("This service needs a key.")
    for key, sentence in (("wrong", "Check the key"), (KEY, None)):
        page.fill("#key-input", key)
        page.press("#key-input", "Enter")
        if sentence:
            expect(dialog).to_contain_text(sentence)
    expect(dialog).to_be_hidden()
    expect(page.locator("#view-models")).to_contain_text("glcic-celeba")


def test_a_late_refusal_of_the_old_key_does_not_speak_against_the_new_one(
    open_page: Callable[..., Page], keyed: str
) -> None:
    """An answer to the wrong key that comes after the right one was typed is asked for again, in silence."""
    page = open_page()
    page.goto(f"{keyed}/#/models")
    held: list[Route] = []

    def hold_the_wrong_key(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer wrong":
            held.append(route)
        else:
            route.continue_()

    page.route("**/jobs?*", hold_the_wrong_key)
    dialog = page.locator("#key-dialog")
    for key, sentence in (("wrong", "Check the key"), (KEY, None)):
        expect(dialog).to_be_visible()
        page.fill("#key-input", key)
        page.press("#key-input", "Enter")
        if sentence:
            expect(dialog).to_contain_text(sentence)
    expect(dialog).to_be_hidden()
    assert len(held) == 1
    with page.expect_response(lambda response: "/jobs?" in response.url and response.status == 200):
        held[0].continue_()
    expect(dialog).to_be_hidden()
    expect(page.locator("#view-models")).to_contain_text("glcic-celeba")


def test_the_docs_are_drawn_without_the_internet(open_page: Callable[..., Page], keyed: str) -> None:
    """Every tag of the API is there, and a call made from there with the key is answered; all requests go here."""
    page = open_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(f"{keyed}/docs")
    for tag in ("inpaint", "samples", "jobs", "training", "models", "health"):
        expect(page.locator(f"#operations-tag-{tag}")).to_be_visible()
    page.click("button.authorize")
    page.locator("input[aria-label='auth-bearer-value']").fill(KEY)
    page.locator(".auth-btn-wrapper button.authorize").first.click()
    page.locator(".btn-done").first.click()
    page.click("text=Your latest jobs")
    page.click("text=Try it out")
    page.click("button.execute")
    expect(page.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    assert asked == {urlsplit(keyed).netloc}
