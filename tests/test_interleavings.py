"""Apply, revert, squash and reload in any order, on disk and in memory, leave the base rebuilt with what is present."""

from checks import interleavings


def test_every_interleaving_is_the_base_rebuilt_with_the_patches_present() -> None:
    seen = interleavings.walk(examples=12, derandomize=True)  # so that what a walk must meet is met every time
    assert seen["states compared"] > 100
    assert seen["states compared in memory"] > 0
    assert seen["step: units folded"] > 0
