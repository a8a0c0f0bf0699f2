"""The locator that a call names: it takes the place of the method's own choice, and is recorded in the patch."""

from editcore.plugins.choices import parse_choice
from editcore.plugins.registry import Registry
from editcore_hooks import Locator


def make_locator(registry: Registry, text: str | None) -> Locator | None:
    """The instance for a `--locate` option, `NAME` or `NAME:key=value`. Raises `PluginError` and `UsageError`."""
    if text is None:
        return None
    choice = parse_choice(text, "locator", "--locate")
    return choice.made(registry.locator(choice.name), f"the locator {choice.name}", f"editcore locators {choice.name}")
