"""What a person does in the Inpaint view, and what they see there."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Locator, Page, expect

Pixels = npt.NDArray[np.uint8]


class Editor:
    """The Inpaint view of a page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator("#view-inpaint")
        self.surface = page.get_by_role("application", name="Mask editor")
        self.facts = page.locator(".picture-facts")
        self.run_button = page.get_by_role("button", name="Inpaint", exact=True)

    def open(self, name: str, data: bytes) -> None:
        """Choose a file."""
        self.page.set_input_files("#picture-input", {"name": name, "mimeType": "image/png", "buffer": data})
        expect(self.surface).to_be_visible()

    def point(self, across: float, down: float) -> tuple[float, float]:
        """A place on the stage, as shares of its width and height, in the page's pixels."""
        box = self.page.locator(".stage-surface:visible, .compare:visible").bounding_box()
        assert box
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, move, release the mouse; places as in `point`."""
        self.page.mouse.move(*self.point(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.point(*end), steps=8)
        self.page.mouse.up()

    def expect_marked(self, marked: bool = True) -> None:
        """Wait until the panel says that something, or nothing, is marked."""
        expect(self.facts).to_contain_text("% marked" if marked else "nothing marked")

    def run(self) -> None:
        """Press the button and wait for the result."""
        self.run_button.click()
        self.expect_result()

    def expect_result(self) -> None:
        expect(self.root).to_have_attribute("data-state", "result")

    def menu(self, item: str) -> None:
        """Choose from the mask's menu."""
        self.page.get_by_role("button", name="Mask", exact=True).click()
        self.page.get_by_role("button", name=item).click()

    def mask(self) -> npt.NDArray[np.bool_]:
        """(H, W), True = fill: the mask as it is saved."""
        with self.page.expect_download() as download:
            self.menu("Save the mask")
        saved = Image.open(download.value.path())
        assert saved.mode == "1"
        return np.asarray(saved)

    def result(self) -> Pixels:
        """The picture as it is downloaded."""
        return pixels(self.result_file().read_bytes())

    def result_file(self) -> Path:
        """The downloaded file."""
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name="Download").click()
        return Path(download.value.path())

    @property
    def error(self) -> Locator:
        """The error that is on screen."""
        return self.page.locator("[role=alert]:visible")


def pixels(data: bytes) -> Pixels:
    """(H, W, C) uint8 of an encoded picture."""
    return np.asarray(Image.open(io.BytesIO(data)))
