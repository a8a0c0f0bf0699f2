"""The deltas of patches as numbers, in stored orientation. Imports torch."""

from editcore.patches.forms.deltas import Delta, norm, to_stored, whole
from editcore.storage.tensors import tensor_of

__all__ = ["Delta", "norm", "tensor_of", "to_stored", "whole"]
