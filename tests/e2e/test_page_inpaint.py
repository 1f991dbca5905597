"""The Inpaint view: what is painted goes, and nothing else."""

import io
import os
import signal
from collections.abc import Callable

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import JSHandle, Page, Route, expect

from tests.e2e.conftest import png
from tests.e2e.editor import Editor, pixels
from tests.e2e.service import Service, form, submit


def test_what_the_mouse_paints_is_filled_and_nothing_else_changes(editor: Editor, picture: bytes) -> None:
    """The download is as large as the picture, new in the hole, and the same byte for byte outside it."""
    expect(editor.run_button).to_be_disabled()
    page = editor.page
    page.mouse.move(*editor.point(0.5, 0.5))
    page.mouse.move(*editor.point(0.4, 0.5))
    page.keyboard.down("Space")  # moves the picture
    editor.drag((0.4, 0.4), (0.41, 0.41))
    page.keyboard.up("Space")
    editor.expect_marked(False)
    editor.drag((0.4, 0.4), (0.6, 0.6))
    editor.expect_marked()
    mask = editor.mask()
    editor.run()
    before, after = pixels(picture), editor.result()
    assert after.shape == before.shape == (*mask.shape, 3)
    assert 0.01 < mask.mean() < 0.3
    assert np.array_equal(after[~mask], before[~mask])
    assert np.any(after[mask] != before[mask])


def test_a_finger_paints_and_two_fingers_zoom(open_page: Callable[..., Page], address: str, picture: bytes) -> None:
    """On a phone one finger draws; a second one turns the beginning of a stroke into zooming and leaves no mark. What
    is compared is enlarged in the same way."""
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=3)
    page.goto(address)
    editor = Editor(page)
    editor.open("photo.png", picture)
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(editor.point(*place) for place in places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    zoom = page.locator(".edit-bar .zoom-value")
    fitted = zoom.inner_text()
    send("touchStart", (0.4, 0.5))
    send("touchMove", (0.42, 0.5))
    send("touchStart", (0.42, 0.5), (0.6, 0.5))
    for spread in range(1, 6):
        send("touchMove", (0.42 - 0.05 * spread, 0.5), (0.6 + 0.05 * spread, 0.5))
    send("touchEnd")
    expect(zoom).not_to_have_text(fitted)
    editor.expect_marked(False)

    zoom.click()
    expect(zoom).to_have_text(fitted)
    send("touchStart", (0.3, 0.5))
    for step in range(1, 6):
        send("touchMove", (0.3 + 0.05 * step, 0.5))
    send("touchEnd")
    editor.expect_marked()
    mask = editor.mask()
    assert mask[120, 110:170].all(), "the stroke lies where the finger went"
    editor.run()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    slider = page.get_by_role("slider", name="Before and after")
    stood = slider.get_attribute("aria-valuenow")
    compared = page.locator(".result-bar .zoom-value")
    expect(compared).to_have_text(fitted)
    send("touchStart", (0.4, 0.5))
    send("touchStart", (0.4, 0.5), (0.6, 0.5))
    send("touchMove", (0.3, 0.5), (0.7, 0.5))
    send("touchEnd")
    expect(compared).not_to_have_text(fitted)
    expect(slider).to_have_attribute("aria-valuenow", str(stood))


def test_everything_can_be_done_by_keyboard_alone(page: Page) -> None:
    """From the opened page to a compared result without a pointer, from an example."""
    editor = Editor(page)
    example = page.get_by_role("button", name="Portrait of an astronaut in an orange suit")
    for _ in range(20):
        page.keyboard.press("Tab")
        if example.evaluate("element => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(editor.surface).to_be_focused()
    before = editor.facts.inner_text()
    keyboard = page.keyboard
    for key in ("]", "Shift+ArrowUp", "ArrowLeft", " ", "ArrowRight", "ArrowRight", "ArrowDown", " "):
        keyboard.press(key)
    expect(page.locator("#announcer")).to_contain_text("The mask covers")
    expect(editor.facts).not_to_have_text(before)
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    keyboard.press("r")
    for key in (" ", "Shift+ArrowLeft", "ArrowDown", " "):
        keyboard.press(key)
    keyboard.press("Control+z")
    keyboard.press("Control+Enter")
    editor.expect_result()
    slider = page.get_by_role("slider", name="Before and after")
    expect(slider).to_be_focused()
    was = slider.get_attribute("aria-valuenow")
    keyboard.down("ArrowRight")
    expect(slider).not_to_have_attribute("aria-valuenow", str(was))
    keyboard.up("ArrowRight")


def test_the_tools_stay_in_sight_in_a_low_window(open_page: Callable[..., Page], address: str) -> None:
    """Whatever the panel holds, it scrolls inside itself; the result's tools follow when the window shrinks."""
    page = open_page(viewport={"width": 1366, "height": 625})
    page.goto(address)
    page.get_by_role("button", name="Portrait of an astronaut in an orange suit").click()
    editor = Editor(page)
    editor.expect_marked()
    for section in ("Settings", "Keys and gestures"):
        page.get_by_text(section).click()
    expect(page.get_by_role("toolbar", name="Mask tools")).to_be_in_viewport(ratio=1)
    editor.run()
    for height in (625, 540):
        page.set_viewport_size({"width": 1366, "height": height})
        expect(page.get_by_role("toolbar", name="Comparison")).to_be_in_viewport(ratio=1)
        assert page.evaluate("document.documentElement.scrollHeight") == height


def test_undo_and_redo_bring_back_each_mask_exactly(editor: Editor) -> None:
    """Strokes, boxes, inversion and clearing are steps back and forth."""
    page = editor.page
    masks = []
    editor.drag((0.4, 0.4), (0.5, 0.5))
    masks.append(editor.mask())
    page.keyboard.press("r")
    editor.drag((0.55, 0.55), (0.65, 0.6))
    masks.append(editor.mask())
    page.keyboard.press("e")
    editor.drag((0.45, 0.4), (0.45, 0.6))
    masks.append(editor.mask())
    editor.menu("Invert")
    masks.append(editor.mask())
    assert np.array_equal(masks[3], ~masks[2])
    editor.menu("Clear")
    editor.expect_marked(False)
    undo, redo = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Redo")
    for expected in reversed(masks):
        undo.click()
        assert np.array_equal(editor.mask(), expected)
    undo.click()
    editor.expect_marked(False)
    expect(undo).to_be_disabled()
    for expected in masks:
        redo.click()
        assert np.array_equal(editor.mask(), expected)
    redo.click()
    editor.expect_marked(False)
    expect(redo).to_be_disabled()


def test_painted_and_uploaded_masks_give_the_same_result(editor: Editor) -> None:
    """A mask that was saved and opened again is the same mask."""
    editor.drag((0.35, 0.5), (0.6, 0.45))
    mask = editor.mask()
    with editor.page.expect_download() as saved:
        editor.menu("Save the mask")
    file = saved.value.path()
    editor.run()
    painted = editor.result_file().read_bytes()

    editor.page.get_by_role("button", name="Back to the mask").click()
    editor.menu("Clear")
    editor.expect_marked(False)
    editor.page.set_input_files("#mask-input", str(file))
    editor.expect_marked()
    assert np.array_equal(editor.mask(), mask)
    editor.run()
    assert editor.result_file().read_bytes() == painted


def test_the_result_is_compared_kept_and_gone_on_from(editor: Editor) -> None:
    """Slider, hold for the original, another format, history of the visit, and a second run on the first result.

    The detail that was painted is the detail that is compared, and the one that is gone on with.
    """
    page = editor.page
    page.get_by_role("button", name="Zoom in").click()
    zoomed = page.locator(".zoom-value:visible").inner_text()
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.run()
    expect(page.locator(".zoom-value:visible")).to_have_text(zoomed)
    first = editor.result()
    slider = page.get_by_role("slider", name="Before and after")
    rest = slider.get_attribute("aria-valuenow")
    hold = page.get_by_role("button", name="Hold for the original")
    hold.hover()
    page.mouse.down()
    expect(slider).to_have_attribute("aria-valuenow", "100")
    page.mouse.up()
    expect(slider).to_have_attribute("aria-valuenow", str(rest))
    box = slider.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    expect(slider).to_have_attribute("aria-valuenow", "75")

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()

    page.get_by_label("Format").select_option("jpeg")
    page.get_by_label("Quality").fill("60")
    jpeg = editor.result_file().read_bytes()
    assert jpeg.startswith(b"\xff\xd8")
    assert pixels(jpeg).shape == first.shape

    page.get_by_role("button", name="Go on from the result").click()
    editor.expect_marked(False)
    expect(page.locator(".zoom-value:visible")).to_have_text(zoomed)
    editor.drag((0.6, 0.6), (0.65, 0.6))
    mask = editor.mask()
    editor.run()
    page.get_by_label("Format").select_option("png")
    assert np.array_equal(editor.result()[~mask], first[~mask])
    history = page.get_by_role("button", name="Result photo.png")
    expect(history).to_have_count(2)
    history.last.click()
    assert np.array_equal(editor.result(), first)


def test_the_mask_in_progress_waits_while_an_older_result_is_looked_at(editor: Editor) -> None:
    """It is there with its undo when one comes back, on whatever picture; with none, the result's own mask is."""
    page = editor.page
    older, back = (
        page.get_by_role("button", name="Result photo.png"),
        page.get_by_role("button", name="Back to the mask"),
    )
    editor.drag((0.4, 0.4), (0.5, 0.4))
    first = editor.mask()
    editor.run()
    result = editor.result()
    page.get_by_role("button", name="Go on from the result").click()
    editor.expect_marked(False)
    older.click()
    back.click()
    editor.expect_marked()
    assert np.array_equal(editor.mask(), first)

    editor.open("other.png", png(200, 100))
    editor.drag((0.4, 0.4), (0.6, 0.6))
    editor.drag((0.4, 0.6), (0.6, 0.4))
    mask = editor.mask()
    older.click()
    expect(page.get_by_role("heading", name="photo.png")).to_be_visible()
    expect(editor.facts).to_contain_text("320 × 240")
    assert np.array_equal(editor.result(), result)
    back.click()
    expect(page.get_by_role("heading", name="other.png")).to_be_visible()
    assert np.array_equal(editor.mask(), mask)
    page.get_by_role("button", name="Undo").click()
    editor.expect_marked()
    assert 0 < editor.mask().sum() < mask.sum()


def test_only_the_picture_on_the_stage_is_kept_decoded(page: Page, picture: bytes) -> None:
    """The history keeps files; a picture that is gone back to is decoded again."""
    page.evaluate(
        """() => {
            const decode = createImageBitmap;
            window.decoded = [];
            window.createImageBitmap = async (...all) => {
                const bitmap = await decode(...all);
                window.decoded.push(bitmap);
                return bitmap;
            };
        }"""
    )
    kept = "() => window.decoded.filter((bitmap) => bitmap.width).length === 1"
    editor = Editor(page)
    editor.open("photo.png", picture)
    for _ in range(2):
        editor.drag((0.4, 0.4), (0.5, 0.4))
        editor.run()
        page.get_by_role("button", name="Go on from the result").click()
        editor.expect_marked(False)
        page.wait_for_function(kept)
    page.get_by_role("button", name="Result photo.png").last.click()
    page.get_by_role("button", name="Back to the mask").click()
    editor.expect_marked()
    page.wait_for_function(kept)


def test_painting_is_given_up_only_when_asked_for(editor: Editor) -> None:
    """Another picture, and Close, ask first, and who goes elsewhere has not agreed; where nothing is painted, or a
    result holds it, they do not ask."""
    page = editor.page
    question = page.get_by_role("dialog", name="Give up what you painted?")
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.expect_marked()
    for leave in (lambda: editor.open("other.png", png(200, 100)), page.get_by_role("button", name="Close").click):
        leave()
        expect(question).to_contain_text("photo.png")
        question.get_by_role("button", name="Keep it").click()
        expect(question).to_be_hidden()
        expect(page.get_by_role("heading", name="photo.png")).to_be_visible()
        editor.expect_marked()
    editor.open("other.png", png(200, 100))
    expect(question).to_be_visible()
    page.evaluate("location.hash = '#/models'")
    expect(page.get_by_role("heading", level=1, name="Models")).to_be_visible()
    page.go_back()
    expect(editor.surface).to_be_visible()
    expect(question).to_be_hidden()
    editor.expect_marked()
    editor.open("other.png", png(200, 100))
    question.get_by_role("button", name="Give it up").click()
    expect(page.get_by_role("heading", name="other.png")).to_be_visible()
    editor.expect_marked(False)
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.run()
    editor.open("third.png", png(100, 100))
    expect(page.get_by_role("heading", name="third.png")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(editor.root).to_have_attribute("data-state", "empty")


def test_the_browser_asks_before_work_is_left(editor: Editor) -> None:
    """While something is painted or run, and for a result until it, or what came of it, is downloaded."""
    page = editor.page

    def asks() -> bool:
        return not page.evaluate("window.dispatchEvent(new Event('beforeunload', { cancelable: true }))")

    assert not asks()
    editor.drag((0.4, 0.4), (0.5, 0.4))
    assert asks()
    held = _run_held(editor)
    assert asks()
    held[0].continue_()
    editor.expect_result()
    page.unroute("**/inpaint/*")
    assert asks()
    page.get_by_role("button", name="Go on from the result").click()
    editor.expect_marked(False)
    editor.drag((0.6, 0.6), (0.65, 0.6))
    editor.run()
    editor.result()
    assert not asks()
    page.get_by_role("button", name="Back to the mask").click()
    editor.drag((0.4, 0.4), (0.5, 0.4))

    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    assert asked == ["beforeunload"]


def _run_held(editor: Editor) -> list[Route]:
    """Starts a run whose request waits, until it is continued."""
    held: list[Route] = []
    editor.page.route("**/inpaint/*", lambda route: held.append(route))
    with editor.page.expect_request("**/inpaint/*"):
        editor.run_button.click()
    return held


def test_a_result_that_comes_while_another_view_is_shown_is_laid_out_on_return(editor: Editor) -> None:
    """As it is for one who stayed: the whole picture, with the slider at the hole's left end."""
    page = editor.page
    editor.drag((0.4, 0.4), (0.5, 0.4))
    held = _run_held(editor)
    page.get_by_role("link", name="Models").click()
    held[0].continue_()
    editor.expect_result()
    page.get_by_role("link", name="Inpaint", exact=True).click()
    slider, after = page.get_by_role("slider", name="Before and after"), page.get_by_alt_text("After")
    expect(slider).not_to_have_attribute("aria-valuenow", "50")  # the middle, before anything is laid out
    stood, box = slider.get_attribute("aria-valuenow"), after.bounding_box()

    page.unroute("**/inpaint/*")
    page.get_by_role("button", name="Back to the mask").click()
    editor.run()
    assert (slider.get_attribute("aria-valuenow"), after.bounding_box()) == (stood, box)


def test_opening_a_picture_chooses_the_brush(editor: Editor) -> None:
    """Whatever was used on the one before: the first stroke paints."""
    for tool in ("Eraser", "Box", "Move the picture"):
        editor.page.get_by_role("button", name=tool).click()
        editor.open("other.png", png(200, 100))
        expect(editor.page.get_by_role("button", name="Brush", exact=True)).to_have_attribute("aria-pressed", "true")
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.expect_marked()


def test_a_job_that_waits_can_be_cancelled(editor: Editor, service: Service, address: str) -> None:
    """The page tells how many are ahead; Cancel ends the job at the service and brings the mask back, ready to run
    again."""
    stopped = [pid for pid, command in service.processes().items() if "inference" in command]
    assert stopped, service.processes()
    editor.drag((0.4, 0.4), (0.5, 0.4))
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        with httpx.Client(base_url=address) as client:
            submit(client, "the-one-before", form())
        editor.run_button.click()
        expect(editor.page.get_by_text("Waiting, 1 job ahead")).to_be_visible()
        editor.page.get_by_role("button", name="Cancel").click()
        expect(editor.root).to_have_attribute("data-state", "edit")
        newest = httpx.get(address + "jobs?limit=1").json()["jobs"][0]
        assert newest["state"] == "cancelled"
    finally:
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)
    editor.run()


def test_transparent_parts_can_be_marked_and_filled(page: Page) -> None:
    """A picture with a hole of its own: the menu marks it, the result shows there what was drawn and keeps its alpha
    channel elsewhere."""
    colour = pixels(png(96, 64))
    alpha = np.full((64, 96, 1), 255, np.uint8)
    alpha[50:] = 200
    alpha[20:40, 30:50] = 0
    file = io.BytesIO()
    Image.fromarray(np.concatenate([colour, alpha], axis=-1)).save(file, "PNG")
    editor = Editor(page)
    editor.open("cutout.png", file.getvalue())
    editor.menu("Mark the transparent parts")
    editor.expect_marked()
    assert np.array_equal(editor.mask(), alpha[..., 0] == 0)
    editor.run()
    result = editor.result()
    assert result.shape == (64, 96, 4)
    kept = alpha[..., 0] > 0
    assert np.array_equal(result[kept], np.concatenate([colour, alpha], axis=-1)[kept])
    assert (result[~kept][:, 3] == 255).all()


def test_pictures_can_be_dropped_and_pasted(page: Page, picture: bytes) -> None:
    """Both ways end with the picture on the stage; what is no file is said to be none."""
    editor = Editor(page)
    handle = _transfer(page, picture)
    page.dispatch_event("#view-inpaint", "drop", {"dataTransfer": handle})
    expect(page.get_by_role("heading", name="dropped.png")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.evaluate(
        "transfer => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true }))",
        handle,
    )
    expect(editor.surface).to_be_visible()
    nothing = page.evaluate_handle("new DataTransfer()")
    page.dispatch_event("#view-inpaint", "drop", {"dataTransfer": nothing})
    expect(editor.error).to_contain_text("no file")


def test_no_run_starts_while_a_picture_is_being_opened(editor: Editor) -> None:
    """Neither by the button nor by the key: the mask of one picture would meet the other."""
    page = editor.page
    editor.drag((0.4, 0.4), (0.5, 0.4))
    expect(editor.run_button).to_be_enabled()
    page.evaluate(
        """() => {
            const decode = createImageBitmap;
            const held = new Promise((resolve) => (window.decodeNow = resolve));
            window.createImageBitmap = (...all) => held.then(() => decode(...all));
        }"""
    )
    expect(page.get_by_text("Opening…")).to_be_hidden()
    editor.open("other.png", png(200, 100))
    expect(page.get_by_text("Opening…")).to_be_visible()
    expect(editor.run_button).to_be_disabled()
    page.keyboard.press("Control+Enter")
    expect(editor.root).to_have_attribute("data-state", "edit")
    page.evaluate("window.decodeNow()")
    page.get_by_role("button", name="Give it up").click()
    expect(page.get_by_role("heading", name="other.png")).to_be_visible()
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.run()
    assert editor.result().shape == (100, 200, 3)


def test_no_picture_takes_the_place_of_one_that_is_being_completed(editor: Editor, picture: bytes) -> None:
    """Replace is disabled, and what is dropped or pasted is refused in words."""
    page = editor.page
    editor.drag((0.4, 0.4), (0.5, 0.4))
    held = _run_held(editor)
    expect(page.get_by_role("button", name="Replace")).to_be_disabled()
    handle = _transfer(page, picture)
    effect = page.locator("#view-inpaint").evaluate(
        """(view, dataTransfer) => {
            for (const type of ["dragover", "drop"]) view.dispatchEvent(new DragEvent(type, { dataTransfer }));
            return dataTransfer.dropEffect;
        }""",
        handle,
    )
    assert effect == "none"
    expect(editor.error).to_contain_text("A run is under way.")
    held[0].continue_()
    editor.expect_result()
    expect(page.get_by_role("heading", name="photo.png")).to_be_visible()


def _transfer(page: Page, picture: bytes) -> JSHandle:
    """What is dropped or pasted: one file, dropped.png."""
    return page.evaluate_handle(
        """data => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(data)], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        list(picture),
    )


def test_the_page_works_behind_a_path_prefix(open_page: Callable[..., Page], address: str, picture: bytes) -> None:
    """Everything is asked for below the page's own address, and nothing needs a secure context."""
    page = open_page()
    outside: list[str] = []
    prefix = "http://prefix.test/paint/"

    def forward(route: Route) -> None:
        url = route.request.url
        if not url.startswith(prefix):
            outside.append(url)
            route.abort()
            return
        route.fulfill(response=route.fetch(url=url.replace(prefix, address)))

    page.route("http://prefix.test/**", forward)
    page.goto(prefix)
    editor = Editor(page)
    editor.open("photo.png", picture)
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.run()
    for view in ("Samples", "Training", "Models"):
        page.get_by_role("navigation").get_by_role("link", name=view).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(view)
    page.unroute_all(behavior="ignoreErrors")  # what the last view still asks for is no longer of interest
    assert not outside, outside
