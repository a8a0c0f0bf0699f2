"""The public surface of the host for plugins, covered by `API_VERSION` like `editcore_hooks` itself.

Everything else of `editcore` may move or change at any time, but for `editcore` itself and `editcore.testing`.
docs/plugins.md lists every name. `arithmetic`, `memories`, `models`, `running` and `training` import torch: import
them in a stage.
"""
