"""Knowledge editing of language models by small, named, reversible patches.

    session = editcore.open("path-or-repo-id")
    patch = session.edit(prompt="The mother tongue of {} is", subject="Danielle Darrieux", target="English")
    patch.save("dd.safetensors")

Importing this package is light; torch is imported when a model is opened.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editcore.editing.prepared import EditOptions
    from editcore.facade import Session
    from editcore.facade import load_model as load
    from editcore.facade import open_model as open
    from editcore.patches.file.patch import Patch
    from editcore_hooks import Case, ChatTemplate, EditcoreError, EditRequest

_HOMES = {
    "Case": ("editcore_hooks", "Case"),
    "ChatTemplate": ("editcore_hooks", "ChatTemplate"),
    "EditRequest": ("editcore_hooks", "EditRequest"),
    "EditcoreError": ("editcore_hooks", "EditcoreError"),
    "EditOptions": ("editcore.editing.prepared", "EditOptions"),
    "Patch": ("editcore.patches.file.patch", "Patch"),
    "Session": ("editcore.facade", "Session"),
    "load": ("editcore.facade", "load_model"),
    "open": ("editcore.facade", "open_model"),
}

__all__ = ["Case", "ChatTemplate", "EditOptions", "EditRequest", "EditcoreError", "Patch", "Session", "load", "open"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
