"""The Training, and the Models and jobs views."""

import httpx
from playwright.sync_api import Page, expect

from tests.e2e.editor import Editor

OPTIONS = "epochs=5\nbatch_size=50\nlog_every=3\npreview_every=20\nprecision=float32"
LONG = "epochs=100000\nlog_every=5\npreview_every=20\nprecision=float32"
PATIENCE = 120_000  # milliseconds: another process imports torch first, on a machine that may be busy


def test_a_run_is_started_watched_to_its_end_and_put_into_service(page: Page, address: str) -> None:
    """Curves, speed and previews while it runs; then its weights serve, and the version before can be had back."""
    page.goto(address + "#/training")
    before = httpx.get(address + "models/vanilla-gan-mnist").json()["active"]
    page.get_by_role("radio", name="Vanilla GAN").check()
    expect(page.get_by_label("Data set")).to_have_value("digits")
    page.get_by_label("Options over the preset").fill(OPTIONS)
    page.get_by_role("button", name="Start training").click()
    run = page.get_by_role("article", name="Vanilla GAN on digits")
    expect(run.get_by_text("Running")).to_be_visible(timeout=PATIENCE)
    expect(run.get_by_text("images/s")).to_be_visible(timeout=PATIENCE)
    expect(run.get_by_text("Finished")).to_be_visible(timeout=PATIENCE)
    expect(run).to_contain_text("Step 60 of 60")
    curve = run.get_by_role("img", name="Generator loss")
    # The ledger hears of a run five times a second, and this one takes two seconds or three.
    assert str(curve.locator("path").get_attribute("d")).count("L") > 2
    expect(run.get_by_alt_text("What the model can do by now")).to_be_visible()
    expect(run).to_contain_text("Step 60")

    # Long after the ledger has forgotten the job, the run is still seen from its first step to its last.
    page.route("**/jobs/*", lambda route: route.fulfill(status=404, body='{"status": 404}'))
    page.reload()
    expect(run.get_by_role("img", name="Discriminator loss")).to_be_visible()
    assert str(curve.locator("path").get_attribute("d")).count("L") == 60 / 3 - 1  # every line of the log
    page.unroute("**/jobs/*")
    slider = run.get_by_role("slider", name="Preview over time")
    slider.fill("0")
    expect(run.locator(".previews .caption")).to_have_text("Step 0")

    run.get_by_role("button", name="Put into service").click()
    expect(run.get_by_text("is in service")).to_be_visible()
    promoted = httpx.get(address + "models/vanilla-gan-mnist").json()["active"]
    assert promoted != before
    run.get_by_role("button", name="Roll back").click()
    expect(run.get_by_text("serves again")).to_be_visible()
    assert httpx.get(address + "models/vanilla-gan-mnist").json()["active"] == before


def test_a_run_can_be_cancelled_and_resumed(page: Page, address: str) -> None:
    """Cancel ends within a step and keeps a checkpoint; resume goes on from there."""
    page.goto(address + "#/training")
    page.get_by_role("radio", name="Vanilla GAN").check()
    page.get_by_label("Options over the preset").fill(LONG)
    page.get_by_role("button", name="Start training").click()
    run = page.get_by_role("article", name="Vanilla GAN on digits")
    expect(run.get_by_text("images/s")).to_be_visible(timeout=PATIENCE)
    run.get_by_role("button", name="Cancel").click()
    expect(run.get_by_text("Cancelled")).to_be_visible(timeout=PATIENCE)
    run.get_by_role("button", name="Resume").click()
    expect(run.get_by_text("Running")).to_be_visible(timeout=PATIENCE)
    run.get_by_role("button", name="Cancel").click()
    expect(run.get_by_text("Cancelled")).to_be_visible(timeout=PATIENCE)


def test_wrong_options_are_said_in_words(page: Page, address: str) -> None:
    """At the form: those the page can see, and those the service refuses."""
    page.goto(address + "#/training")
    error = page.locator(".training-form [role=alert]")
    expect(page.get_by_label("Data set")).to_have_value("digits")
    page.get_by_label("Options over the preset").fill("faster!")
    page.get_by_role("button", name="Start training").click()
    expect(error).to_contain_text("NAME=VALUE")
    page.get_by_label("Options over the preset").fill("speed=9")
    page.get_by_role("button", name="Start training").click()
    expect(error).to_contain_text("There is no option speed")


def test_models_show_where_they_come_from_and_jobs_where_time_went(editor: Editor, address: str) -> None:
    """Cards with version, figures and licence; a job's state and timings; another version by one button."""
    page = editor.page
    editor.drag((0.4, 0.4), (0.5, 0.4))
    editor.run()
    page.get_by_role("navigation").get_by_role("link", name="Models").click()
    active = httpx.get(address + "models/glcic-celeba").json()["active"]
    card = page.get_by_role("article").filter(has_text=f"glcic-celeba@{active}")
    card.get_by_text("Where it comes from").click()
    expect(card.get_by_text("Licence")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="320 × 240").first
    expect(row).to_contain_text("Done")
    expect(row).to_contain_text(active)

    generator = page.get_by_role("article").filter(has_text="vanilla-gan-mnist@")
    other = generator.get_by_role("button", name="Use version")
    if other.count():  # a second version is there when another test trained one, or when one ships
        version = str(other.first.get_attribute("aria-label")).split()[-1]
        other.first.click()
        expect(generator).to_contain_text(f"vanilla-gan-mnist@{version}")
