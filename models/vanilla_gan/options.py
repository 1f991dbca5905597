"""Options of a vanilla GAN run, and its presets. Free of torch, so that the API can check a request by them."""

from pydantic import Field

from models.training.options import GanOptions


class VanillaGanOptions(GanOptions):
    """How a vanilla GAN is trained."""

    batch_size: int = Field(default=100, ge=1, le=65_536, description="Pictures per step and process.")
    epochs: float = Field(default=200, gt=0, description="Times each training picture is shown.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Adam's first decay.")
    name: str = Field(
        default="vanilla-gan-mnist", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Model name, for the card."
    )


PRESETS: dict[str, VanillaGanOptions] = {
    # No reproduction: the paper has other networks and plain momentum, and names no sizes and no rates. Adam stands in
    # for it, and all is as in the course project.
    "paper": VanillaGanOptions(),
    # The course project: Adam 2e-4, batch 100, 200 epochs.
    "course": VanillaGanOptions(),
    # A lower first decay calms the game, and the average of the generator is better than any single step of it.
    "cpu": VanillaGanOptions(
        epochs=60,
        beta1=0.5,
        final_lr=0.1,
        ema=0.999,
        precision="auto",
        log_every=100,
        preview_every=5000,
        validate_every=5000,
    ),
}
PRESETS["gpu"] = PRESETS["cpu"].model_copy(update={"data_threads": 4})  # nothing else is different there
