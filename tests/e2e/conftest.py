"""The page in a real Chromium, against `inpaint serve` with real workers."""

import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.e2e.editor import Editor
from tests.e2e.materials import add_generators, write_digits
from tests.e2e.service import Service

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESKTOP = {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """One service for all tests of the page."""
    # Not pytest's tmp_path: the path of the broker's socket must stay below 100 characters.
    with tempfile.TemporaryDirectory(prefix="inpaint-page-") as folder:
        data = Path(folder, "data")
        add_generators(data / "weights")
        write_digits(data / "digits")
        (data / "datasets.toml").write_text('digits = "digits"\n')
        running = Service(data)
        try:
            running.wait_until_ready()
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def address(service: Service) -> str:
    """Where the page is."""
    return service.wait_until_ready() + "/"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, each in a context of its own; afterwards no script may have failed in any of them."""
    contexts: list[BrowserContext] = []
    failures: list[str] = []

    def open_(**options: object) -> Page:
        context = browser.new_context(**{**DESKTOP, **options})  # type: ignore[arg-type]  # options of Playwright's own
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on(
            "console",
            lambda message: failures.append(message.text) if "Content Security Policy" in message.text else None,
        )
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not failures, failures


@pytest.fixture
def page(open_page: Callable[..., Page], address: str) -> Page:
    """The page on a desktop, just opened."""
    page = open_page()
    page.goto(address)
    return page


@pytest.fixture
def editor(page: Page, picture: bytes) -> Editor:
    """The page with a picture of 320 x 240 on its stage."""
    editor = Editor(page)
    editor.open("photo.png", picture)
    return editor


@pytest.fixture(scope="session")
def picture() -> bytes:
    """PNG, 320 x 240, RGB: no two neighbours alike, so that a lost or shifted pixel is seen."""
    return png(320, 240)


def png(width: int, height: int) -> bytes:
    """A PNG of a soft gradient with noise."""
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([255 * x / width, 255 * y / height, 128 + 80 * np.sin(x / 17)], axis=-1)
    noise = np.random.default_rng(7).integers(-12, 12, smooth.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
