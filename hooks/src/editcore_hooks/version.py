"""The version of the contract, apart from the version of any distribution.

It covers `editcore_hooks` and, of the host, `editcore.authoring` and `editcore.testing`. The minor number grows when a
hook, an argument or an optional field is added; the major one when something is removed. A plugin states the range
that it was written for as `EDITCORE_API = ">=1.0,<2"` in its entry module.
"""

from typing import Final

API_VERSION: Final = "1.1"
