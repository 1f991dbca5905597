"""Weights between two states of a run, or between a run and what it started from.

    python -m models.glcic.mix FIRST RUN --share 0.7 [--data PATH] --out FOLDER

A network trained against discriminators is sharp and wrong, the same one trained on by squared error alone is right
and blurred; the straight line between their weights goes from one to the other (Wang et al. 2018, "ESRGAN", section
3.4). FIRST is a safetensors file or a model of the catalogue. The statistics of batch norm are measured anew on the
training pictures in PATH; without one they are mixed, too, which is right where they are the same: a run of
`refine_train.py` leaves them as they were. Writes `weights.safetensors` and `card.json`, as a run does.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from models.catalog import CARD, WEIGHTS, Card, write_atomically
from models.engine import prepare_process
from models.glcic.options import GlcicOptions
from models.glcic.train import GlcicRecipe
from models.training.data import open_pictures
from models.training.errors import TrainingError
from models.training.loop import compact
from models.training.options import OPTIONS
from models.training.start import find_weights


def mix(first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` (0 to 1) of `second`, the rest of `first`. Raises ValueError where they are not of one network."""
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        raise ValueError("The two are not weights of the same network.")
    if not 0 <= share <= 1:
        raise ValueError(f"A share of {share} is not between 0 and 1.")
    return {name: first[name].float().lerp(second[name].float(), share) for name in first}


def settled(weights: dict[str, Tensor], run: Path, data: Path) -> dict[str, Tensor]:
    """`weights` of a completion network with batch norm statistics measured on batches such as `run` was trained on."""
    options = GlcicOptions.model_validate_json((run / OPTIONS).read_bytes())
    pictures = open_pictures(data, size=max(options.sizes))
    recipe = GlcicRecipe(options, pictures, pictures, torch.device("cpu"))
    recipe.network.load_state_dict(weights, strict=False)  # but for the counts of batches
    state = recipe.settled(recipe.network).state_dict()
    return _compact({name: state[name] for name in weights})


def _compact(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: compact(name, value) for name, value in weights.items()}


def main() -> int:
    """The command above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="a safetensors file, or a model of the catalogue, NAME or NAME@VERSION")
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--share", type=float, required=True, help="of the run")
    parser.add_argument("--data", type=Path, help="that the run was trained on")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    prepare_process()
    try:
        file = Path(chosen.first) if Path(chosen.first).is_file() else find_weights(chosen.first, store=None)
        card = Card.model_validate_json((chosen.run / CARD).read_bytes())
        mixed = mix(safetensors.torch.load_file(file), safetensors.torch.load_file(chosen.run / WEIGHTS), chosen.share)
        weights = settled(mixed, chosen.run, chosen.data) if chosen.data else _compact(mixed)
        content = safetensors.torch.save(weights)
    except (TrainingError, OSError, ValueError) as error:
        print(f"Nothing was mixed. {error}", file=sys.stderr)
        return 1
    recipe = f"{card.recipe}; {chosen.share:g} of its weights and {1 - chosen.share:g} of {file.stem}'s"
    digest = hashlib.sha256(content).hexdigest()
    card = card.model_copy(update={"sha256": digest, "metrics": {}, "recipe": recipe})
    chosen.out.mkdir(parents=True, exist_ok=True)
    write_atomically(chosen.out / WEIGHTS, content)
    write_atomically(chosen.out / CARD, card.model_dump_json(indent=2).encode())
    print(f"{chosen.out}: {card.reference}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
