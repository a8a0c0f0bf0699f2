"""The commands of the core: name → module and one line of help. `--help` reads this table and imports none."""

from collections.abc import Mapping
from typing import Final

INNER: Final[Mapping[str, str]] = {
    "doctor": "editcore plugins doctor",
    "install": "editcore plugins install",
    "uninstall": "editcore plugins uninstall",
    "offers": "editcore plugins offers",
}
"""Commands of a group that are looked for without it → how they are called."""
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "edit": ("editcore.cli.edit:edit", "Compute patches from facts."),
    "apply": ("editcore.cli.apply:apply", "Apply patches to a model folder."),
    "revert": ("editcore.cli.revert:revert", "Revert patches in any order, to the exact bits."),
    "repair": ("editcore.cli.repair:repair", "Complete or undo an interrupted write."),
    "stack": ("editcore.cli.stack:stack", "Show the patches on a model folder."),
    "diff": ("editcore.cli.diff:diff", "Compare patches or models: manifest, tensors, answers."),
    "blame": ("editcore.cli.blame:blame", "Find the patch of a stack that broke a fact."),
    "annotate": ("editcore.cli.annotate:annotate", "Change the annotation of a patch, not its effect."),
    "inspect": ("editcore.cli.inspect:inspect", "Show the content of a patch."),
    "squash": ("editcore.cli.squash:squash", "Make one patch from several."),
    "extract": ("editcore.cli.extract:extract", "Make a patch from two checkpoints."),
    "import": ("editcore.cli.import_gguf:import_gguf", "Convert a GGUF file to a model folder."),
    "export": ("editcore.cli.export:export", "Write a LoRA adapter, a whole checkpoint or a model card."),
    "push": ("editcore.cli.push:push", "Publish a patch on a model hub."),
    "pull": ("editcore.cli.pull:pull", "Download a patch from a model hub and check it."),
    "sign": ("editcore.cli.sign:sign", "Sign a patch or a stack with an ssh key."),
    "verify": ("editcore.cli.verify:verify", "Recompute the hashes of a patch or a model folder."),
    "tune": ("editcore.cli.tune:tune", "Find settings of a method for a model."),
    "train": ("editcore.cli.train:train", "Train what a method needs before its first edit."),
    "eval": ("editcore.cli.eval:evaluate", "Score cases on a model, with or without patches; a gate for CI."),
    "generate": ("editcore.cli.generate:generate", "Generate text, with patches and without."),
    "chat": ("editcore.cli.chat:chat", "Talk to a model with its patches, or side by side with its base."),
    "serve": ("editcore.cli.serve:serve", "Serve a model with its patches over the OpenAI protocol, on this machine."),
    "methods": ("editcore.cli.methods:methods", "List editing methods, or the hyper-parameters of one."),
    "locators": ("editcore.cli.kinds:locators", "List locators, or the hyper-parameters of one."),
    "transforms": ("editcore.cli.kinds:transforms", "List transforms, or the hyper-parameters of one."),
    "metrics": ("editcore.cli.kinds:metrics", "List metrics and what their cases need."),
    "kinds": ("editcore.cli.kinds:kinds", "List kinds of patches and what can be done with them."),
    "new-plugin": ("editcore.cli.new_plugin:new_plugin", "Write the repository of a new plugin."),
    "update-plugin": ("editcore.cli.new_plugin:update_plugin", "Update a plugin to the present template."),
    "plugins": ("editcore.cli.plugins:plugins", "List, install and uninstall plugins, and find their faults."),
}
