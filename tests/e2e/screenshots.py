"""Screenshots of the page.

    python -m tests.e2e.screenshots OUT_DIR    each view at three widths, light and dark, to be looked at
    python -m tests.e2e.screenshots --readme   the few that the README shows, into .github/images

Starts a service of its own, unless `--address` names one; in its training view is a short run on made-up digits.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.conftest import ARGUMENTS, CHROMIUM
from tests.e2e.materials import write_digits
from tests.e2e.service import Service, until

SIZES = ((1440, 900), (820, 1100), (390, 844))
IMAGES = Path(__file__).parents[2] / ".github" / "images"
RUN = {
    "family": "vanilla-gan",
    "dataset": "digits",
    "overrides": {"epochs": 10, "batch_size": 50, "log_every": 2, "preview_every": 20, "precision": "float32"},
}


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


def enlarged(page: Page) -> None:
    samples(page)
    page.get_by_role("button", name="Enlarge picture 3", exact=True).click()


def interpolation(page: Page) -> None:
    page.evaluate("location.hash = '#/samples?model=dcgan&n=16&seed=7&interpolate=8'")
    expect(page.locator(".strip img")).to_have_count(16, timeout=60_000)


def training(page: Page) -> None:
    page.evaluate("location.hash = '#/training'")
    page.get_by_role("heading", name="Runs").wait_for()


def models(page: Page) -> None:
    page.evaluate("location.hash = '#/models'")
    page.get_by_role("article").first.wait_for()


def key(page: Page) -> None:
    page.get_by_role("button", name="API key").click()


View = Callable[[Page], None]
VIEWS: tuple[View, ...] = (start, edit, result, samples, enlarged, interpolation, training, models, key)
LONG: tuple[View, ...] = (samples, interpolation, training, models)
README: tuple[View, ...] = (edit, result, samples)


def take_all(browser: Browser, address: str, folder: Path) -> None:
    """Each view at each size, light and dark, as `VIEW-WIDTH-SCHEME.png`."""
    for width, height in SIZES:
        for scheme in ("light", "dark"):
            for view in VIEWS:
                with _shown(browser, address, view, width=width, height=height, scheme=scheme) as page:
                    path = folder / f"{view.__name__}-{width}-{scheme}.png"
                    page.screenshot(path=path, full_page=view in LONG)
                    print(path, flush=True)


def take_for_readme(browser: Browser, address: str, folder: Path) -> None:
    """A few, small, as `page-VIEW.jpg`."""
    for view in README:
        with _shown(browser, address, view, width=1200, height=760, scheme="light") as page:
            path = folder / f"page-{view.__name__}.jpg"
            page.screenshot(path=path, type="jpeg", quality=82)
            print(f"{path} {path.stat().st_size // 1000} kB", flush=True)


@contextmanager
def _shown(browser: Browser, address: str, view: View, *, width: int, height: int, scheme: str) -> Iterator[Page]:
    phone = width < 600
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        has_touch=phone,
        is_mobile=phone,
        device_scale_factor=2 if phone else 1,
    )
    page.goto(address)
    view(page)
    page.mouse.move(2, 2)  # so that nothing is shown as hovered
    page.wait_for_timeout(600)
    yield page
    page.close()


@contextmanager
def _service() -> Iterator[str]:
    """The address of a service with a run that has finished."""
    with tempfile.TemporaryDirectory(prefix="inpaint-shots-") as folder:
        data = Path(folder, "data")
        write_digits(data / "digits")
        (data / "datasets.toml").write_text('digits = "digits"\n')
        service = Service(data)
        try:
            address = service.wait_until_ready()
            link = httpx.post(address + "/training-runs", json=RUN).raise_for_status().json()["links"]["self"]
            until(lambda: httpx.get(address + link).json()["state"] == "succeeded", 180)
            yield address
        finally:
            service.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path, nargs="?", default=IMAGES)
    parser.add_argument("--readme", action="store_true", help="only what the README shows, small")
    parser.add_argument("--address", help="of a service that runs, e.g. http://127.0.0.1:8000/")
    arguments = parser.parse_args()
    if arguments.out_dir == IMAGES and not arguments.readme:
        parser.error("name a folder, or say --readme")
    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    take = take_for_readme if arguments.readme else take_all
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        if arguments.address:
            take(browser, arguments.address, arguments.out_dir)
            return
        with _service() as address:
            take(browser, address, arguments.out_dir)


if __name__ == "__main__":
    main()
