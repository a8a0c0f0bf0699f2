"""The files by which patches are judged: those that a model was opened from, or of a quantised one those before."""

from pathlib import Path

from editcore.models.loading.loader import Loaded
from editcore.models.loading.weight_files import read_config
from editcore.patches.checkpoint.fingerprint import config_sha256
from editcore.patches.checkpoint.folder import Checkpoint
from editcore_hooks import UsageError, WrongBaseError


def base_checkpoint(loaded: Loaded, base: Path | None) -> Checkpoint:
    """The checkpoint of a model; `base` is the folder of what it was before it was quantised.

    Raises `UsageError` for a base where there is no need of one and for one that carries patches, `WrongBaseError` when
    it is a model of another structure: all that can be told of weights that were made smaller since.
    """
    if base is not None and not loaded.quantised:
        raise UsageError(f"{loaded.name} is not quantised and is its own base", hint="leave out the base")
    checkpoint = Checkpoint.open(base or loaded.folder)
    if loaded.quantised and checkpoint.patch_ids:
        raise UsageError(
            f"{checkpoint.folder} carries patches, which a quantised model cannot give back",
            hint="name the base without patches, and put them on in memory",
        )
    if base is not None and config_sha256(read_config(loaded.folder)) != checkpoint.config_sha256:
        raise WrongBaseError(
            f"{loaded.name} has another structure than {checkpoint.folder}", hint="name the model that it was made from"
        )
    return checkpoint
