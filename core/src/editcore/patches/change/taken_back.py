"""What a revert of weight patches takes back, told before it is done: which edits go alone, and which only together."""

from editcore.patches.file.merged_annotation import contents
from editcore.patches.file.patch import PatchHeader


def taken_back(patch: PatchHeader) -> str:
    """The edits of a patch that go with it, as a clause."""
    inside = len(contents(patch) - {patch.patch_id})
    n = len(patch.objects("requests"))
    edits = f"its {n} edits go together" if n > 1 else "its edit goes"
    if inside:
        edits = f"the edits of the {inside} patches that it was squashed from go together"
    return f"{edits}, to the last bit"
