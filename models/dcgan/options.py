"""Options of a DCGAN run, and its presets. Free of torch, so that the API can check a request by them."""

from pydantic import Field

from models.training.options import GanOptions


class DcganOptions(GanOptions):
    """How a DCGAN is trained."""

    batch_size: int = Field(default=128, ge=1, le=65_536, description="Pictures per step and process.")
    width: int = Field(default=64, ge=4, le=256, description="Channels at 32x32; they double as the side halves.")
    mirror: bool = Field(default=False, description="Show mirror images as often as the pictures themselves.")
    name: str = Field(
        default="dcgan-celeba", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Model name, for the card."
    )


PRESETS: dict[str, DcganOptions] = {
    # Section 4, and figure 1 for the width. The paper gives no number of epochs for its faces: 25 are those of the
    # authors' code.
    "paper": DcganOptions(width=128),
    # The sizes of the course project.
    "course": DcganOptions(),
    # Small batches make more of few pictures; the average hides what the last steps happened to do.
    "cpu": DcganOptions(
        batch_size=32, epochs=60, mirror=True, ema=0.999, precision="auto", channels_last=True, validate_every=2000
    ),
    "gpu": DcganOptions(
        epochs=60,
        mirror=True,
        ema=0.999,
        final_lr=0.1,
        precision="auto",
        channels_last=True,
        log_every=100,
        preview_every=2000,
        validate_every=2000,
        data_threads=8,
    ),
}
