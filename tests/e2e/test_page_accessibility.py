"""axe-core finds no violation: in any view, in any state, light and dark, on a desktop and on a phone."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.e2e.editor import Editor

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize(
    "options", [{"color_scheme": "light"}, {"color_scheme": "dark", **PHONE}], ids=["desktop-light", "phone-dark"]
)
def test_axe_finds_no_violation(
    open_page: Callable[..., Page], address: str, picture: bytes, options: dict[str, object]
) -> None:
    """Start, error, mask with its menu and settings, result, samples with a picture enlarged, training, models, key."""
    page = open_page(reduced_motion="reduce", **options)
    violations: list[str] = []

    def check(where: str) -> None:
        found = Axe().run(page)
        violations.extend(
            f"{where}: {each['id']}: {each['help']}: {[node['html'][:120] for node in each['nodes']]}"
            for each in found.response["violations"]
        )

    page.goto(address)
    editor = Editor(page)
    page.set_input_files("#picture-input", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no"})
    expect(editor.error).to_be_visible()
    check("start")

    editor.open("photo.png", picture)
    page.get_by_text("Settings").click()
    check("edit, nothing marked")
    editor.drag((0.4, 0.4), (0.6, 0.5))
    page.get_by_role("button", name="Mask", exact=True).click()
    check("edit, with a mask and its menu")
    page.keyboard.press("Escape")
    editor.run()
    check("result")

    page.goto(address + "#/samples?model=vanilla-gan&n=4&seed=1")
    page.get_by_role("button", name="Enlarge picture 1", exact=True).click()
    check("samples, one enlarged")
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Interpolation").check()
    expect(page.locator(".strip img").first).to_be_visible()
    check("samples, interpolation")

    page.goto(address + "#/training")
    expect(page.get_by_label("Data set")).to_have_value("digits")
    check("training")

    page.goto(address + "#/models")
    expect(page.get_by_role("table").last).to_be_visible()
    check("models and jobs")
    page.get_by_role("button", name="API key").click()
    check("key")
    assert not violations, "\n".join(violations)


def test_the_focus_goes_with_what_is_shown(editor: Editor) -> None:
    """From Inpaint to Cancel and back, after a failure too, and from Close to the choice of another picture."""
    page = editor.page
    cancel = page.get_by_role("button", name="Cancel")
    editor.drag((0.4, 0.4), (0.5, 0.4))
    expect(editor.run_button).to_be_enabled()
    held: list[Route] = []
    page.route("**/inpaint/*", lambda route: held.append(route))
    for end in (lambda: page.keyboard.press("Enter"), lambda: held.pop().fulfill(status=422, body="{}")):
        with page.expect_request("**/inpaint/*"):
            editor.run_button.press("Enter")
        expect(cancel).to_be_focused()
        end()
        expect(editor.run_button).to_be_focused()
    expect(editor.error).to_be_visible()
    page.get_by_role("button", name="Close").press("Enter")
    page.get_by_role("button", name="Give it up").press("Enter")
    expect(page.locator("#picture-input")).to_be_focused()
