"""What goes wrong is said in words, where it belongs, and the way on stays open."""

import io
from collections.abc import Callable

from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import png
from tests.e2e.editor import Editor


def test_a_file_that_is_no_picture(page: Page, picture: bytes) -> None:
    """Said at the start page; over a picture that is open, it stays."""
    editor = Editor(page)
    wrong = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not a picture"}
    page.set_input_files("#picture-input", wrong)
    expect(editor.error).to_contain_text("notes.txt is not a picture")
    editor.open("photo.png", picture)
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.expect_marked()
    page.set_input_files("#picture-input", {**wrong, "name": "scan.tiff"})
    expect(editor.error).to_contain_text("cannot show scan.tiff")
    editor.expect_marked()


def test_a_mask_that_does_not_fit(editor: Editor) -> None:
    """Another size, nothing marked, no picture: each has its own sentence, and the mask that was drawn stays."""
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.expect_marked()
    black = io.BytesIO()
    Image.new("L", (320, 240)).save(black, "PNG")
    for data, sentence in (
        (png(200, 100), "The mask is 200 × 100, the picture 320 × 240."),
        (black.getvalue(), "This mask marks nothing: it has no white pixel."),
        (b"nothing", "not an image"),
    ):
        editor.page.set_input_files("#mask-input", {"name": "m.png", "mimeType": "image/png", "buffer": data})
        expect(editor.error).to_contain_text(sentence)
    editor.expect_marked()


def test_the_service_is_down(editor: Editor) -> None:
    """The run fails with a sentence; once the service is back the same button works."""
    page = editor.page
    editor.drag((0.4, 0.4), (0.5, 0.4))
    page.route("**/inpaint/*", lambda route: route.abort("connectionrefused"))
    editor.run_button.click()
    expect(editor.error).to_contain_text("The service does not answer.")
    page.unroute("**/inpaint/*")
    editor.run()


def test_the_queue_is_full(editor: Editor) -> None:
    """The sentence says when to try again."""
    page = editor.page
    editor.drag((0.4, 0.4), (0.5, 0.4))
    page.route(
        "**/inpaint/*",
        lambda route: route.fulfill(
            status=429,
            headers={"Retry-After": "7", "Content-Type": "application/problem+json"},
            body='{"title": "Too many jobs are waiting", "status": 429, "detail": "Nothing was accepted."}',
        ),
    )
    editor.run_button.click()
    expect(editor.error).to_have_text("Too many jobs are waiting. Try again in 7 s.")
    expect(editor.run_button).to_be_enabled()


def test_a_picture_that_is_too_large(page: Page) -> None:
    """The service says how large it may be; the mask stays where it is."""
    file = io.BytesIO()
    Image.new("1", (5100, 5000)).save(file, "PNG")
    editor = Editor(page)
    editor.open("poster.png", file.getvalue())
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.expect_marked()
    editor.run_button.click()
    expect(editor.error).to_contain_text("at most 25 megapixels")
    editor.expect_marked()


def test_a_picture_that_is_too_large_is_said_to_be_before_it_is_painted(page: Page, picture: bytes) -> None:
    """Beside the button as soon as it is opened; with a smaller one in its place the sentence goes."""
    file = io.BytesIO()
    Image.new("1", (5100, 5000)).save(file, "PNG")
    editor = Editor(page)
    editor.open("poster.png", file.getvalue())
    expect(editor.error).to_contain_text("25.5 megapixels: at most 25 megapixels are accepted")
    editor.open("photo.png", picture)
    expect(editor.error).to_be_hidden()


def test_a_result_that_has_expired(editor: Editor) -> None:
    """Its reason is the service's own, and the same button makes it anew."""
    page = editor.page
    editor.drag((0.4, 0.4), (0.5, 0.4))
    body = '{"title": "The result has expired", "status": 410, "detail": "Send the picture again."}'
    page.route("**/jobs/*/result", lambda route: route.fulfill(status=410, body=body))
    editor.run_button.click()
    expect(editor.error).to_have_text("Send the picture again.")
    page.unroute("**/jobs/*/result")
    editor.run()


def test_a_connection_that_breaks_is_taken_up_again(editor: Editor) -> None:
    """A request that got lost, and events that stop halfway, cost nothing: the job has an id of the page's own."""
    page = editor.page
    lost: dict[str, int] = {}

    def lose_the_first(route: Route) -> None:
        kind = route.request.url.rsplit("/", 1)[-1] if "events" in route.request.url else "inpaint"
        lost[kind] = lost.get(kind, 0) + 1
        if lost[kind] == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/inpaint/*", lose_the_first)
    page.route("**/jobs/*/events", lose_the_first)
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.run()
    assert lost["inpaint"] == 2


def test_a_key_is_asked_for_and_sent(open_page: Callable[..., Page], address: str) -> None:
    """Where keys are on, the page asks once for each key that is wrong, keeps the right one and sends it with every
    call; who wants to give none is told so where the view is, and left alone."""
    page = open_page()
    keys: list[str | None] = []

    def guard(route: Route) -> None:
        key = route.request.headers.get("authorization")
        keys.append(key)
        if key == "Bearer sesame":
            route.continue_()
        else:
            detail = "Send `Authorization: Bearer KEY`."
            route.fulfill(status=401, body=f'{{"title": "An API key is needed", "status": 401, "detail": "{detail}"}}')

    page.route("**/models", guard)
    page.goto(address + "#/models")
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_contain_text("needs a key")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("link", name="Inpaint", exact=True).click()
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("needs an API key")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="API key").click()
    dialog.get_by_label("Key").fill("open")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_contain_text("does not know this key")
    dialog.get_by_label("Key").fill("sesame")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("article").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("article").first).to_be_visible()
    assert keys[0] is None
    assert keys[-1] == "Bearer sesame"
