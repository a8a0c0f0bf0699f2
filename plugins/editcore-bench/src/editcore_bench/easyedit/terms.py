"""Words of EasyEdit and of editcore: methods, hyper-parameters and figures."""

from collections.abc import Mapping
from typing import Final

METHODS: Final[Mapping[str, str]] = {
    "ALPHAEDIT": "alphaedit",
    "EMMET": "emmet",
    "FT": "ft-m",
    "FT-L": "ft-l",
    "FT-M": "ft-m",
    "GRACE": "grace",
    "ICE": "ice",
    "IKE": "ike",
    "KE": "ke",
    "KN": "kn",
    "LORA": "lora",
    "MALMEN": "malmen",
    "MEMIT": "memit",
    "MEND": "mend",
    "PMET": "pmet",
    "R-ROME": "rome",
    "ROME": "rome",
    "ULTRAEDIT": "ultraedit",
}
AS_PUBLISHED: Final[Mapping[str, Mapping[str, object]]] = {
    "R-ROME": {"key_mode": "r-rome", "spare_prompt": False, "spare_alike": 0},
    "ROME": {"key_mode": "rome", "spare_prompt": False, "spare_alike": 0},
}
"""Settings whose defaults here differ from what the method does there, by its name there."""
SETTINGS: Final[Mapping[str, str]] = {
    "clamp_norm_factor": "clamp",
    "kl_factor": "kl",
    "L2": "l2",
    "lora_alpha": "alpha",
    "mom2_update_weight": "mom2_weight",
    "norm_constraint": "linf_radius",
    "num_steps": "steps",
    "v_num_grad_steps": "v_steps",
}
"""Names that differ. A name that both have is the same."""
LEFT: Final[Mapping[str, str]] = {
    "alg_name": "the method",
    "attn_module_tmp": "modules are found in the model",
    "context_template_length_params": "see context_lengths and context_count",
    "device": "pass --device",
    "fact_token": "edits are at the subject's last token",
    "layer_module_tmp": "modules are found in the model",
    "layer_selection": "editcore tune chooses layers",
    "lm_head_module": "modules are found in the model",
    "ln_f_module": "modules are found in the model",
    "max_length": "it is that of the model",
    "mlp_module_tmp": "modules are found in the model",
    "model_name": "pass the model",
    "model_parallel": "pass --device auto",
    "mom2_adjustment": "the second moment is always used",
    "mom2_dataset": "see mom2_corpus",
    "mom2_dtype": "sums are in float64",
    "mom2_n_samples": "see mom2_tokens: tokens and not texts are counted",
    "objective_optimization": "it chooses between ft-l (prompt_last) and ft-m (target_new)",
    "rewrite_module_tmp": "modules are found in the model",
    "stats_dir": "statistics are kept in the cache",
    "v_loss_layer": "the loss is read at the last layer",
}
"""Settings that have no counterpart, and why."""
SAME: Final[Mapping[str, str]] = {"rewrite_acc": "tf.token@1", "rephrase_acc": "tf.token.rephrase@1"}
"""Figures whose definition is the same where a blank joins prompt and target and both tokenise apart."""
OTHERS: Final[Mapping[str, str]] = {"locality": "easyedit.locality", "portability": "easyedit.portability"}
"""Groups whose definition differs: they keep their own name. See docs/easyedit.md."""
