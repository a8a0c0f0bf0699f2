"""Rules for every editing method, as tests that its author inherits.

    from editcore.testing.conformance import MethodConformance

    class TestMine(MethodConformance):
        method = "mine"
        hparams = {"layer": 1}  # settings under which an edit is cheap

Override `model` to run on another one than the taught Llama. A check that cannot hold is named with its reason in
`not_applicable`, and shows as skipped. Importing this module needs pytest.
"""

from editcore.testing.patch_checks import PatchChecks
from editcore.testing.promise_checks import PromiseChecks
from editcore.testing.stage_checks import StageChecks


class MethodConformance(StageChecks, PatchChecks, PromiseChecks):
    """The checks. Tolerances are for what floating point does to sums in another order or shape."""
