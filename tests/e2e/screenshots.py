"""Screenshots of the page, as the README shows them: `python -m tests.e2e.screenshots OUT_DIR [--address URL]`.

Starts a service of its own unless an address is given. Each view at 1440, 820
and 390 pixels, light and dark, as `VIEW-WIDTH-SCHEME.png`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.conftest import ARGUMENTS, CHROMIUM
from tests.e2e.service import Service

SIZES = ((1440, 900), (820, 1100), (390, 844))


def start(page: Page) -> None:
    page.get_by_role("heading", level=1).wait_for()


def edit(page: Page) -> None:
    page.locator(".example").first.click()
    expect(page.locator(".picture-facts")).to_contain_text("% marked")


def result(page: Page) -> None:
    edit(page)
    page.get_by_role("button", name="Inpaint", exact=True).click()
    page.get_by_role("heading", name="Done").wait_for(timeout=60_000)


def samples(page: Page) -> None:
    page.evaluate("location.hash = '#/samples?model=dcgan&n=36&seed=7'")
    expect(page.locator(".samples-grid img")).to_have_count(36, timeout=60_000)


def training(page: Page) -> None:
    page.evaluate("location.hash = '#/training'")
    page.get_by_role("heading", name="Runs").wait_for()


def models(page: Page) -> None:
    page.evaluate("location.hash = '#/models'")
    page.get_by_role("article").first.wait_for()


VIEWS: tuple[Callable[[Page], None], ...] = (start, edit, result, samples, training, models)


def take(address: str, folder: Path) -> None:
    """All of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for width, height in SIZES:
            for scheme in ("light", "dark"):
                for view in VIEWS:
                    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                    page.goto(address)
                    view(page)
                    page.wait_for_timeout(500)
                    name = f"{view.__name__}-{width}-{scheme}.png"
                    scrolls = view in (samples, training, models)
                    page.screenshot(path=folder / name, full_page=scrolls)
                    print(name, flush=True)
                    page.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--address", help="of a service that runs, e.g. http://127.0.0.1:8000/")
    arguments = parser.parse_args()
    if arguments.address:
        take(arguments.address, arguments.out_dir)
        return
    with tempfile.TemporaryDirectory(prefix="inpaint-shots-") as folder:
        service = Service(Path(folder, "data"))
        try:
            take(service.wait_until_ready(), arguments.out_dir)
        finally:
            service.stop()


if __name__ == "__main__":
    main()
