"""A plan and the folder as it is when the change begins: the plan is kept only where both are the same."""

import attrs

from editcore.patches.change.plan import Plan, plan_change, refuse_incompatible
from editcore.patches.change.rewrites import refuse_occupied
from editcore.patches.checkpoint.folder import Checkpoint


def planned_on(opened: Checkpoint, plan: Plan) -> Plan:
    """`plan` for `opened`, a second reading of its folder, or the reading of a copy, that no writer can change now.

    Where the folder is still the one that was planned on, nothing is decided again. Where another writer came first,
    the change is planned again on what is there now. Raises what `plan_change` raises, and `UsageError` where a patch
    to take off is gone.
    """
    same_bytes = opened.hashes.adopt(plan.checkpoint.hashes)
    if not (same_bytes and opened.reads_as(plan.checkpoint)):
        for patch_id in sorted(plan.removed):
            opened.stack.find(patch_id)
        return plan_change(opened, plan.added, plan.removed, strict=plan.strict)
    refuse_incompatible(plan)
    refuse_occupied(opened, plan.rewrites)
    return attrs.evolve(plan, checkpoint=opened)
