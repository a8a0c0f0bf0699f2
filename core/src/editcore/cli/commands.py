"""The commands of the core: name → where it is and one line on it. `--help` reads this table and imports none."""

from collections.abc import Mapping
from typing import Final

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "edit": ("editcore.cli.edit:edit", "Compute patches from facts."),
    "apply": ("editcore.cli.apply:apply", "Put patches on a model folder."),
    "revert": ("editcore.cli.revert:revert", "Take patches off again, in any order, to the exact bits."),
    "repair": ("editcore.cli.repair:repair", "Finish or undo what an interrupted write left."),
    "stack": ("editcore.cli.stack:stack", "Show which patches a model folder carries."),
    "diff": ("editcore.cli.diff:diff", "Compare patches or models: manifest, tensors, answers."),
    "blame": ("editcore.cli.blame:blame", "Find which patch of a stack broke a fact."),
    "annotate": ("editcore.cli.annotate:annotate", "Change what a patch says of itself, and not what it does."),
    "inspect": ("editcore.cli.inspect:inspect", "Show what a patch says of itself."),
    "squash": ("editcore.cli.squash:squash", "Make one patch of several."),
    "extract": ("editcore.cli.extract:extract", "Make a patch of two checkpoints."),
    "import": ("editcore.cli.import_gguf:import_gguf", "Convert a GGUF file to a model folder."),
    "export": ("editcore.cli.export:export", "Write a LoRA adapter, a whole checkpoint or a model card."),
    "push": ("editcore.cli.push:push", "Publish a patch on a model hub."),
    "pull": ("editcore.cli.pull:pull", "Fetch a patch from a model hub, and check it."),
    "sign": ("editcore.cli.sign:sign", "Sign a patch or a stack with an ssh key."),
    "verify": ("editcore.cli.verify:verify", "Recompute the hashes of a patch or a model folder."),
    "tune": ("editcore.cli.tune:tune", "Find the settings of a method that suit a model."),
    "eval": ("editcore.cli.eval:evaluate", "Score cases on a model, with patches or as it is; a gate for CI."),
    "generate": ("editcore.cli.generate:generate", "Write text, with patches beside the base."),
    "methods": ("editcore.cli.methods:methods", "List editing methods, or the hyper-parameters of one."),
    "plugins": ("editcore.cli.plugins:plugins", "List what is installed, and find what is wrong with it."),
}
