"""Weights between a model of the catalogue and those of a run that started from it.

    python -m models.training.mix glcic-celeba RUN --share 0.4 --out FOLDER

A network trained against discriminators is sharp and wrong, the same one trained on by squared error alone is right
and blurred; the straight line between their weights goes from one to the other (Wang et al. 2018, "ESRGAN", section
3.4). Writes `weights.safetensors` and `card.json`, as a run does.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import safetensors.torch
from torch import Tensor

from models.catalog import Card, Catalog, UnknownModelError, write_atomically
from models.training.loop import CARD, WEIGHTS, compact


def mix(first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` (0 to 1) of `second`, the rest of `first`. Raises ValueError where they are not of one network."""
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        raise ValueError("The two are not weights of the same network.")
    if not 0 <= share <= 1:
        raise ValueError(f"A share of {share} is not between 0 and 1.")
    return {name: compact(name, first[name].float().lerp(second[name].float(), share)) for name in first}


def main() -> int:
    """The command above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="of the catalogue, NAME or NAME@VERSION")
    parser.add_argument("run", type=Path, help="folder of a run that started from it")
    parser.add_argument("--share", type=float, required=True, help="of the run")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    catalog = Catalog()
    try:
        model = catalog.get(chosen.model)
        run = Card.model_validate_json((chosen.run / CARD).read_bytes())
        weights = mix(
            safetensors.torch.load_file(catalog.weights_path(model)),
            safetensors.torch.load_file(chosen.run / WEIGHTS),
            chosen.share,
        )
    except (UnknownModelError, OSError, ValueError) as error:
        print(f"Nothing was mixed. {error}", file=sys.stderr)
        return 1
    content = safetensors.torch.save(weights)
    card = run.model_copy(
        update={
            "sha256": hashlib.sha256(content).hexdigest(),
            "images_seen": model.images_seen + run.images_seen,
            "hours": round(model.hours + run.hours, 3),
            "metrics": {},
            "recipe": f"{run.recipe}; of its weights {chosen.share:g}, of {model.reference} {1 - chosen.share:g}",
        }
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    write_atomically(chosen.out / WEIGHTS, content)
    write_atomically(chosen.out / CARD, card.model_dump_json(indent=2).encode())
    print(f"{chosen.out}: {card.reference}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
