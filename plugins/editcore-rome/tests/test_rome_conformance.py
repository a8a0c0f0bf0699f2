"""ROME keeps to what every method must keep to."""

from editcore.testing.conformance import MethodConformance


class TestRome(MethodConformance):
    method = "rome"
    hparams = {
        "layer": 1, "v_steps": 6, "v_lr": 0.3, "v_weight_decay": 0.01, "clamp": 8, "context_count": 2,
        "mom2_tokens": 2000,
    }  # fmt: skip
