"""Distributions by method and by command. Read only to word a hint, never to find a class.

Written by `make lists` from the plugins of this repository.
"""

from collections.abc import Mapping
from typing import Final

METHODS: Final[Mapping[str, str]] = {
    "adalora": "editcore-lora",
    "alphaedit": "editcore-alphaedit",
    "calinet": "editcore-calinet",
    "crispedit": "editcore-crispedit",
    "defer": "editcore-grace",
    "emmet": "editcore-emmet",
    "ft": "editcore-ft",
    "ft-l": "editcore-ft",
    "ft-m": "editcore-ft",
    "ft-t": "editcore-ft",
    "grace": "editcore-grace",
    "ice": "editcore-ice",
    "ike": "editcore-ike",
    "ike-prompt": "editcore-ike",
    "ke": "editcore-ke",
    "kn": "editcore-kn",
    "locft": "editcore-ft",
    "lora": "editcore-lora",
    "malmen": "editcore-malmen",
    "melo": "editcore-melo",
    "memit": "editcore-memit",
    "memoir": "editcore-memoir",
    "memory-network": "editcore-grace",
    "mend": "editcore-mend",
    "pmet": "editcore-pmet",
    "retrieval": "editcore-ike",
    "rledit": "editcore-malmen",
    "rome": "editcore-rome",
    "serac": "editcore-serac",
    "t-patcher": "editcore-tpatcher",
    "ultraedit": "editcore-ultraedit",
    "wise": "editcore-wise",
}

COMMANDS: Final[Mapping[str, str]] = {
    "ability": "editcore-lm-eval",
    "bench": "editcore-bench",
    "datasets": "editcore-bench",
    "demo": "editcore-demo",
    "easyedit": "editcore-bench",
    "locate": "editcore-causal-trace",
    "mello": "editcore-ike",
    "stats": "editcore-keyvalue",
}
