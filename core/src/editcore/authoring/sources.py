"""Sources of models and files, and the threads of this machine."""

from editcore.models.loading.hub_names import plain_names
from editcore.models.loading.source import find, first_line, reaching
from editcore.threads import available, settle, share

__all__ = ["available", "find", "first_line", "plain_names", "reaching", "settle", "share"]
