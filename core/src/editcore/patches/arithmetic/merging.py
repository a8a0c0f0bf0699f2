"""Rules that thin several deltas before they are added. The equations are peft's: `pip install 'editcore[peft]'`."""

from collections.abc import Sequence

import torch

from editcore_hooks import EditcoreError, UsageError


def merge(rule: str, deltas: Sequence[torch.Tensor], density: float) -> torch.Tensor:
    """One delta in float64 out of several of one shape, computed in float32. `density` is the share that is kept.

    `ties` trims each to its largest entries, elects a sign for each place and averages those that agree (Yadav et al.
    2023); `dare` drops entries at random, scales up the others and adds (Yu et al. 2024), and so follows the random
    state. Raises `UsageError` for a density outside (0, 1] and `EditcoreError` without peft.
    """
    if not 0 < density <= 1:
        raise UsageError(f"a density of {density} is out of range", hint="choose 0 < --density <= 1")
    try:
        from peft.utils import merge_utils
    except ImportError as error:
        raise EditcoreError(f"--rule {rule} needs peft", hint="pip install 'editcore[peft]'") from error
    function = {"ties": merge_utils.ties, "dare": merge_utils.dare_linear}[rule]
    weights = torch.ones(len(deltas))
    merged: torch.Tensor = function([delta.float() for delta in deltas], weights, density=density)
    return merged.double()
