"""Options of a GLCIC run, and its presets. Free of torch, so that the API can check a request by them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from models.training.options import HoleKind, Options


class GlcicOptions(Options):
    """How a GLCIC run is made."""

    sizes: tuple[int, ...] = Field(description="Sides of the pictures, stage by stage.")
    completion_steps: tuple[int, ...] = Field(description="Per stage: steps of the completion network alone.")
    discriminator_steps: tuple[int, ...] = Field(description="Per stage: steps of the discriminators alone.")
    joint_steps: tuple[int, ...] = Field(description="Per stage: steps of both.")
    optimiser: Literal["adadelta", "adamw"] = Field(default="adadelta", description="AdaDelta as the paper, or AdamW.")
    lr: float = Field(default=1.0, gt=0, description="Learning rate of the completion network.")
    discriminator_lr: float = Field(default=1.0, gt=0, description="Learning rate of the discriminators.")
    final_lr: float = Field(default=1.0, gt=0, le=1, description="Share of `lr` left at a stage's end (cosine decay).")
    warmup: int = Field(default=0, ge=0, description="Steps over which `lr` rises at the start of a stage.")
    weight_decay: float = Field(default=0.0, ge=0, description="Of AdamW.")
    adversarial: float = Field(default=4e-4, ge=0, description="Weight of the adversarial loss; alpha in the paper.")
    feature_matching: float = Field(
        default=0.0,
        ge=0,
        description="Weight of how far what the discriminators see in a completed picture is from the real one's.",
    )
    gradient_penalty: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the discriminators' squared gradient on real pictures (R1), which keeps them beatable.",
    )
    real_label: float = Field(default=1.0, gt=0.5, le=1, description="Target for real pictures; below 1 smooths.")
    holes: dict[HoleKind, float] = Field(description="Kinds of holes and their weights in the mix.")
    patch: float = Field(default=0.6, gt=0, le=1, description="Local patch, as a share of the side.")
    smallest_hole: float = Field(default=0.3, gt=0, le=1, description="Smallest side of a box in the patch, likewise.")
    largest_hole: float = Field(default=0.6, gt=0, le=1, description="Largest side of a box in the patch, likewise.")
    moved: float = Field(default=0.0, ge=0, le=1, description="Share of pictures that are scaled, turned and shifted.")
    move_scale: tuple[float, float] = Field(default=(0.7, 1.8), description="Smallest and largest magnification.")
    move_shift: float = Field(default=0.2, ge=0, le=0.5, description="Most shift, as a share of the side.")
    move_degrees: float = Field(default=20.0, ge=0, le=180, description="Most rotation either way.")
    mirrored: bool = Field(default=True, description="Show every other picture as its mirror image.")
    init: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9-]{0,63}(@[0-9a-f]{8})?)?$",
        description="Model of the catalogue to start from, `NAME` or `NAME@VERSION`; empty starts from nothing.",
    )
    compiled: bool = Field(
        default=False,
        description="Fuse the completion network's layers: a third faster on a GPU, after 20 seconds. Needs a C "
        "compiler, without which the run goes on as it is.",
    )
    name: str = Field(default="glcic", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Model name, for the card.")
    validation_pictures: int = Field(default=128, ge=1, description="Held-out pictures measured each time.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        stages = (self.completion_steps, self.discriminator_steps, self.joint_steps)
        if not self.sizes or any(len(steps) != len(self.sizes) for steps in stages):
            raise ValueError("sizes, completion_steps, discriminator_steps and joint_steps need one entry per stage")
        if any(size % 4 or not 16 <= size <= 512 for size in self.sizes):
            raise ValueError("sizes must be multiples of 4 from 16 to 512")
        if list(self.sizes) != sorted(self.sizes):
            raise ValueError("sizes must not shrink: pictures grow from stage to stage")
        if any(count < 0 for steps in stages for count in steps) or sum(map(sum, stages)) == 0:
            raise ValueError("steps must not be negative, and at least one phase needs some")
        if not self.holes or any(weight < 0 for weight in self.holes.values()) or sum(self.holes.values()) <= 0:
            raise ValueError("holes needs at least one kind with a positive weight")
        if not self.smallest_hole <= self.largest_hole <= self.patch:
            raise ValueError("smallest_hole <= largest_hole <= patch must hold")
        if not 0.1 <= self.move_scale[0] <= self.move_scale[1] <= 10:
            raise ValueError("move_scale is (smallest, largest), each from 0.1 to 10")
        return self


PRESETS: dict[str, GlcicOptions] = {
    # Section 4: Places2 at 256, holes of 96-128 in a 128 patch, 90k / 10k / to 500k steps of 96 pictures (all GPUs).
    # Crops, the place of the hole in its patch, and the completion network's loss are not the paper's: see the README.
    "paper": GlcicOptions(
        batch_size=96,
        sizes=(256,),
        completion_steps=(90_000,),
        discriminator_steps=(10_000,),
        joint_steps=(400_000,),
        holes={"patch": 1.0},
        patch=0.5,
        smallest_hole=0.375,
        largest_hole=0.5,
        log_every=100,
        checkpoint_seconds=900,
        preview_every=5000,
        validate_every=10_000,
        data_threads=8,
    ),
    # The course project: CelebA at 160, one hole of 48-96 in a 96 patch, or scattered missing pixels.
    "course": GlcicOptions(
        batch_size=16,
        sizes=(160,),
        completion_steps=(1000,),
        discriminator_steps=(150,),
        joint_steps=(4000,),
        holes={"patch": 0.5, "scattered": 0.5},
    ),
    # The fastest way we know to a good model on two cores.
    "cpu": GlcicOptions(
        batch_size=16,
        precision="auto",
        channels_last=True,
        ema=0.999,
        sizes=(64, 128, 160),
        completion_steps=(8000, 5000, 3000),
        discriminator_steps=(0, 0, 300),
        joint_steps=(0, 0, 5000),
        optimiser="adamw",
        lr=5e-4,
        discriminator_lr=2e-4,
        final_lr=0.2,
        warmup=200,
        weight_decay=1e-4,
        adversarial=2e-3,
        feature_matching=0.02,
        gradient_penalty=0.05,
        real_label=0.9,
        holes={"patch": 0.45, "box": 0.1, "stroke": 0.2, "scattered": 0.25},
        smallest_hole=0.12,
        moved=0.3,
        move_scale=(0.75, 1.35),
        move_shift=0.15,
    ),
    # For one large GPU. The shipped faces are some ten minutes of it, in several runs: their cards say which.
    "gpu": GlcicOptions(
        batch_size=128,
        precision="auto",
        channels_last=True,
        compiled=True,
        ema=0.999,
        sizes=(128, 160),
        completion_steps=(1500, 4500),
        discriminator_steps=(0, 200),
        joint_steps=(0, 4500),
        optimiser="adamw",
        lr=8e-4,
        discriminator_lr=2e-4,
        final_lr=0.03,
        warmup=100,
        weight_decay=1e-4,
        adversarial=2e-3,
        feature_matching=0.02,
        gradient_penalty=0.05,
        real_label=0.9,
        holes={"patch": 0.45, "box": 0.1, "stroke": 0.2, "scattered": 0.25},
        smallest_hole=0.12,
        moved=0.4,
        move_scale=(0.85, 1.2),
        move_shift=0.07,
        move_degrees=10,
        log_every=100,
        preview_every=1000,
        data_threads=8,
    ),
}
