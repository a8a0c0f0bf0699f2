"""The two pluggy markers. Every hook name begins with `editcore_`, so a grep finds every implementation in the wild."""

from typing import Final

import pluggy

PROJECT: Final = "editcore"

hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)
