"""What the three families' `train.py` share. How a family uses it:

1. `models/FAMILY/options.py`, free of torch: a frozen pydantic model over `options.Options`, a sentence per
   field, cross-checks in validators, and `PRESETS` with `paper`, `course`, `cpu`; listed in `families.py`.
2. `class DcganRecipe(loop.Recipe[Batch])`: `batch(step)` is a pure function of the step (made ahead in
   background threads, all chance from `moves.generator(seed, rank, step)`); `step(step, batch)` does one
   optimisation step and returns its losses; `state_dict`/`load_state_dict` hold everything else.
3. In several processes: `processes.average_gradients(network)` between `backward()` and the optimiser.
4. `train(data, out, options, ...)` opens the data (`data.open_pictures`, `data.open_digits`), builds the
   recipe and calls `loop.run(recipe, out, resume=..., command=...)`, which seeds torch before every step and does
   checkpoints, signals, logs, previews, the warning when the discriminator has won, and the export
   (`weights.safetensors` + `card.json`, renewed with every checkpoint).
"""
