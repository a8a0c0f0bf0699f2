"""`editcore apply --runtime`: patches beside the weights of a folder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editcore.cli.output import Output
from editcore.text.ids import short
from editcore.text.shell import quoted

if TYPE_CHECKING:
    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.file.patch import Patch

UNEDITED = "a plain from_pretrained of this folder goes without them; load it with editcore.load"


def run(out: Output, checkpoint: "Checkpoint", patches: Sequence["Patch"], output: str | None, dry_run: bool) -> None:
    """Check, and unless `dry_run` write; the latest of two patches that answer one prompt differently is named."""
    from editcore.applying.runtime import apply_runtime
    from editcore.patches.change.runtime import contradictions, require_fit, require_runtime
    from editcore.patches.checkpoint.runtime import runtime_headers

    for prompt, earlier, later in contradictions([*runtime_headers(checkpoint), *patches]):
        out.warn(f"{short(earlier)} and {short(later)} answer {prompt!r} differently: the later is used")
    if dry_run:
        require_runtime(checkpoint, patches)
        require_fit(checkpoint, patches)
        ids = [patch.patch_id for patch in patches]
        out.json({"would_attach": ids}) if out.as_json else out.print(f"would attach: {', '.join(map(short, ids))}")
        return
    attached = apply_runtime(checkpoint, patches, output)
    where = output or str(checkpoint.folder)
    if out.as_json:
        out.json({"folder": where, "runtime": list(attached)})
        return
    out.print(f"{where}: {', '.join(map(short, attached))} beside the weights")
    out.say(f"{UNEDITED}({where!r}), or use `editcore chat {quoted(where)}` and `editcore serve {quoted(where)}`")
