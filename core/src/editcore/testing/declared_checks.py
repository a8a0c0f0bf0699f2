"""Checks of a class as it is declared. They hold for every kind of plugin."""

import json
import os
import subprocess
import sys
from typing import Any

from editcore.plugins.class_checks import class_problems
from editcore.plugins.hparams import from_mapping, to_json, undocumented
from editcore.testing.under_test import UnderTest


class DeclaredChecks(UnderTest):
    """Light to import, documented, and without a fault that `editcore plugins doctor` would report."""

    def test_the_entry_module_imports_no_torch(self) -> None:
        module = self.cls.__module__
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        path = os.pathsep.join(entry for entry in sys.path if entry)
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=False)
        assert done.returncode == 0, f"importing {module} imports torch, or fails"

    def test_the_class_is_declared_without_faults(self) -> None:
        faults = [fault for fault in class_problems(self.cls) if " help" not in fault]
        assert faults == [], "; ".join(faults)

    def test_it_is_summed_up_in_a_line(self) -> None:
        summary = self.cls.summary
        assert summary.strip(), f"{self.cls.__name__}.summary is empty: lists show it"
        assert "\n" not in summary, f"{self.cls.__name__}.summary is more than one line"

    def test_every_hyper_parameter_is_documented(self) -> None:
        assert undocumented(self.cls.Hparams) == []

    def test_hyper_parameters_survive_json(self) -> None:
        hparams = self.cls.Hparams
        values: Any = from_mapping(hparams, self.hparams)
        assert from_mapping(hparams, json.loads(json.dumps(to_json(values)))) == values
