"""What trained models exist, which version of each is in service, and where their files are.

Free of torch, so that the API can answer from it. A model is a name
(`glcic-celeba`); a version is the first eight digits of its file's SHA-256, so
a version names exactly one set of weights. Versions that ship with the package
lie in `models/weights/`, one per model; versions that a training run promoted lie in
`STORE/NAME/VERSION.safetensors`. Beside every file lies its card.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SHIPPED = Path(__file__).parent / "weights"

WEIGHTS, CARD = "weights.safetensors", "card.json"
"""What a training run leaves in its folder."""

Family = Literal["glcic", "dcgan", "vanilla-gan"]
"""The three papers."""

Kind = Literal["glcic", "dcgan", "vanilla-gan", "face-align", "face-enlarge"]
"""What a network is: of one of the papers, or one of the two helpers that GLCIC has for faces."""


class UnknownModelError(LookupError):
    """No model, or no version of it, goes by this name. The message lists what there is."""


class Card(BaseModel):
    """What a reader should know about one file of weights before using it."""

    model_config = ConfigDict(extra="ignore")  # a newer version of this program may tell more

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Model name, e.g. `glcic-celeba`.")
    family: Kind = Field(description="The network these weights belong to.")
    title: str = Field(description="One line for people.")
    description: str = Field(description="What it is good at, what it is not.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the safetensors file; checked before each load.")
    data: str = Field(description="What it was trained on.")
    licence: str = Field(description="Terms under which the weights may be used.")
    recipe: str = Field(description="How it was trained, in a sentence or two.")
    images_seen: int = Field(ge=0, description="Pictures shown during training, repeats counted.")
    hours: float = Field(ge=0, description="Wall-clock hours of training.")
    image_size: int = Field(gt=0, description="Side, in pixels, of the largest pictures it was trained on.")
    aligned: bool = Field(
        default=False, description="Trained on faces aligned as CelebA's are: a face is completed best in that frame."
    )
    metrics: dict[str, float] = Field(default_factory=dict, description="Held-out figures, named with their unit.")
    command: str = Field(description="The command that made it.")
    commit: str = Field(description="The commit of this repository that made it.")
    created: str = Field(description="ISO date.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="What the family's `build` needs to rebuild the network."
    )

    @property
    def version(self) -> str:
        """First eight digits of the SHA-256."""
        return self.sha256[:8]

    @property
    def reference(self) -> str:
        """`NAME@VERSION`: what a job carries and what `X-Model` says."""
        return f"{self.name}@{self.version}"


class Catalog:
    """The models in `SHIPPED` and in `store`; reads the disk on each call, so a promotion is seen at once."""

    def __init__(self, store: Path | None = None, shipped: Path = SHIPPED) -> None:
        self._store = store
        self._shipped = shipped
        self._runs: dict[str, Path] = {}  # by the reference of what they trained

    def names(self) -> list[str]:
        """All model names, sorted."""
        names = {card.stem for card in self._shipped.glob("*.json")}
        if self._store is not None and self._store.is_dir():
            names |= {folder.name for folder in self._store.iterdir() if any(folder.glob("*.json"))}
        return sorted(names)

    def versions(self, name: str) -> list[Card]:
        """All versions of `name`: the shipped one first, then promoted ones by date. Raises UnknownModelError."""
        cards = [
            _read_card(path) for path in (self._shipped / f"{name}.json",) if name in self.names() and path.exists()
        ]
        if self._store is not None and name in self.names():
            promoted = [_read_card(path) for path in (self._store / name).glob("*.json")]
            cards += sorted(promoted, key=lambda card: (card.created, card.version))
        if not cards:
            raise UnknownModelError(f"There is no model '{name}'. Models: {', '.join(self.names()) or 'none'}.")
        return cards

    def get(self, reference: str) -> Card:
        """The card of `NAME` (its active version) or `NAME@VERSION`. Raises UnknownModelError."""
        name, _, version = reference.partition("@")
        cards = self.versions(name)
        wanted = version or self._active_version(name) or cards[0].version
        for card in cards:
            if card.version == wanted:
                return card
        known = ", ".join(card.version for card in cards)
        raise UnknownModelError(f"Model '{name}' has no version '{wanted}'. Versions: {known}.")

    def find(self, model: str) -> Card:
        """As `get`, or where `model` is no name but the folder of a run, the card of what that run trained.

        For a command line, whose user may read any folder. Raises UnknownModelError.
        """
        folder = Path(model)
        if model.partition("@")[0] in self.names() or not folder.is_dir():
            return self.get(model)
        try:
            card = _read_card(folder / CARD)
        except (OSError, ValidationError) as error:
            raise UnknownModelError(
                f"{folder} is no run with weights: {CARD} cannot be read. A run has them from its first checkpoint on."
            ) from error
        self._runs[card.reference] = folder
        return card

    def activate(self, name: str, version: str) -> Card:
        """Put `version` of `name` into service for every job accepted from now on. Raises UnknownModelError."""
        card = self.get(f"{name}@{version}")
        write_atomically(self._folder(name) / "active", card.version.encode())
        return card

    def add(self, card: Card, weights: bytes) -> Card:
        """Keep a new version beside the others; it is not in service before `activate`.

        Raises ValueError when `weights` do not have the card's SHA-256.
        """
        if hashlib.sha256(weights).hexdigest() != card.sha256:
            raise ValueError(f"The weights of {card.name} do not have the SHA-256 that their card states.")
        folder = self._folder(card.name)
        write_atomically(folder / f"{card.version}.safetensors", weights)
        write_atomically(folder / f"{card.version}.json", card.model_dump_json(indent=2).encode())
        return card

    def weights_path(self, card: Card) -> Path:
        """The safetensors file that belongs to `card`."""
        if card.reference in self._runs:
            return self._runs[card.reference] / WEIGHTS
        if self._store is not None:
            promoted = self._store / card.name / f"{card.version}.safetensors"
            if promoted.exists():
                return promoted
        return self._shipped / f"{card.name}.safetensors"

    def _folder(self, name: str) -> Path:
        if self._store is None:
            raise ValueError("This catalog has no store to write to.")
        return self._store / name

    def _active_version(self, name: str) -> str | None:
        if self._store is None:
            return None
        pointer = self._store / name / "active"
        return pointer.read_text().strip() if pointer.exists() else None


def _read_card(path: Path) -> Card:
    return Card.model_validate_json(path.read_bytes())


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that a reader, or a crash, sees all of it or the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
