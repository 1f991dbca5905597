"""The Samples view: what the generators draw, by seed."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import Page, Route, expect

from tests.e2e.editor import pixels

PICTURES = ".samples-grid img"


def sources(page: Page) -> list[str]:
    """The pictures of the grid."""
    return [str(image.get_attribute("src")) for image in page.locator(PICTURES).all()]


def test_a_seed_draws_the_same_pictures_again(page: Page, address: str) -> None:
    """Grid by model, count and seed; the address is a link that reproduces it; files match the API's."""
    page.goto(address + "#/samples")
    expect(page.locator(PICTURES)).to_have_count(16)
    faces = sources(page)
    page.get_by_label("Seed", exact=True).fill("11")
    page.keyboard.press("Enter")
    expect(page.locator(PICTURES).first).not_to_have_attribute("src", faces[0])
    page.get_by_label("How many").select_option("4")
    expect(page.locator(PICTURES)).to_have_count(4)
    eleven = sources(page)
    assert page.url.endswith("#/samples?model=dcgan&n=4&seed=11")

    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator(PICTURES)).to_have_count(4)
    assert sources(other) == eleven
    other.close()

    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    wanted = httpx.get(address + "samples/dcgan?n=4&seed=11&format=png").content
    assert Path(download.value.path()).read_bytes() == wanted
    with page.expect_download() as download:
        page.get_by_role("button", name="ZIP").click()
    assert len(zipfile.ZipFile(download.value.path()).namelist()) >= 4

    page.get_by_role("radio", name="Digits").check()
    expect(page.get_by_text("4 pictures of 28 × 28 by vanilla-gan-mnist")).to_be_visible()
    page.get_by_role("button", name="Another seed").click()
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value("11")


def test_a_picture_is_enlarged_and_left_by_keyboard(page: Page, address: str) -> None:
    """Click, arrow keys, download, Escape."""
    page.goto(address + "#/samples?model=vanilla-gan&n=9&seed=3")
    page.get_by_role("button", name="Enlarge picture 2", exact=True).click()
    dialog = page.get_by_role("dialog", name="Enlarged picture")
    expect(dialog).to_contain_text("vanilla-gan, seed 3, picture 2")
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text("picture 3")
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download this picture").click()
    assert pixels(Path(download.value.path()).read_bytes()).shape[:2] == (28, 28)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_going_back_closes_an_enlarged_picture(page: Page) -> None:
    """The view that is gone back to can be used, and so can the samples afterwards."""
    page.evaluate("location.hash = '#/samples?model=vanilla-gan&n=4&seed=3'")
    enlarge = page.get_by_role("button", name="Enlarge picture 1", exact=True)
    enlarge.click()
    page.go_back()
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", level=1, name="Models")).to_be_visible()
    page.get_by_role("link", name="Samples").click()
    enlarge.click()
    expect(page.get_by_role("dialog", name="Enlarged picture")).to_be_visible()


def test_an_interpolation_leads_from_one_seed_to_another(page: Page, address: str) -> None:
    """The slider goes over the pictures on the way, blended into one another."""
    page.goto(address + "#/samples?model=dcgan&seed=1")
    page.get_by_role("radio", name="Interpolation").check()
    page.get_by_label("To seed").fill("5")
    page.keyboard.press("Enter")
    strip = page.locator(".strip img")
    expect(strip).to_have_count(16)
    expect(page.locator(".interpolation")).to_contain_text("Seed 5")
    slider = page.get_by_role("slider", name="Position between the two seeds")
    shown = page.locator(".interpolation-picture img").first
    expect(shown).to_have_attribute("src", str(strip.first.get_attribute("src")))
    slider.fill("1000")
    expect(shown).to_have_attribute("src", str(strip.nth(14).get_attribute("src")))
    assert page.locator(".interpolation-picture .over").evaluate("image => image.style.opacity") == "1"
    assert page.url.endswith("interpolate=5")


def test_pictures_never_stand_under_a_seed_that_did_not_draw_them(page: Page, address: str) -> None:
    """While another seed is drawn the pictures bear their own; when it fails they go, and come again with the next."""
    page.goto(address + "#/samples?model=vanilla-gan&n=4&seed=3")
    expect(page.locator(PICTURES)).to_have_count(4)
    held: list[Route] = []
    page.route("**/samples/*seed=5*", lambda route: held.append(route))
    seed = page.get_by_label("Seed", exact=True)
    with page.expect_request("**/samples/*seed=5*"):
        seed.fill("5")
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Enlarge picture 1", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("vanilla-gan, seed 3, picture 1")
    page.keyboard.press("Escape")
    held[0].abort("connectionrefused")
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("The service does not answer.")
    expect(page.locator(PICTURES).first).to_be_hidden()
    seed.fill("3")
    page.keyboard.press("Enter")
    expect(page.locator(PICTURES).first).to_be_visible()


def test_a_model_that_is_not_there_is_said_in_words(open_page: Callable[..., Page], address: str) -> None:
    """The service's own sentence stands where the pictures would."""
    page = open_page()
    body = '{"title": "There is no such model", "status": 404, "detail": "There is no model dcgan. Models: none."}'
    page.route(re.compile(r"/samples/dcgan"), lambda route: route.fulfill(status=404, body=body))
    page.goto(address + "#/samples")
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("There is no model dcgan. Models: none.")
    expect(page.get_by_label("Seed", exact=True)).to_be_enabled()
