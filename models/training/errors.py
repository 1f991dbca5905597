"""What can stop a training run, said to the person who started it."""


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do. What was saved is intact."""

    told = "Training failed"
    """What stands before the message."""


class OptionsError(TrainingError, ValueError):
    """An option is unknown, out of range, or does not go with another."""


class DataError(TrainingError):
    """The data are missing, empty, or not of a kind we read."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read, or does not fit."""


class UnsavedError(TrainingError):
    """What a run has to keep cannot be written: the disk is full, or away."""

    told = "Training could not be saved"


class DivergedError(TrainingError):
    """A loss or a weight is no longer a finite number."""

    told = "Training diverged"
