"""Errors for people: what happened and why, the command that fixes it, and the exit code of the command line."""

from typing import ClassVar


class EditcoreError(Exception):
    """An expected failure. The command line prints `message` and `hint`, the next command or step, on a line each; it
    shows a traceback only under `--debug`."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(EditcoreError):
    """An invalid argument, request or setting."""

    exit_code = 2


class WrongBaseError(EditcoreError):
    """The model is not the one that the patch was made for."""

    exit_code = 3


class ConflictError(EditcoreError):
    """Patches that exclude each other, or a plugin, patch or asset that is required and missing."""

    exit_code = 4


class RequirementNotMetError(EditcoreError):
    """A figure asked for by `--require` was not reached, or an edit did not take."""

    exit_code = 5


class RefusedFileError(EditcoreError):
    """A file that is corrupt, from the future, or of a kind that must not be read or written."""

    exit_code = 6


class PluginError(ConflictError):
    """A plugin that is broken, incompatible, blocked, missing, or that breaks the contract."""


class InvalidValueError(PluginError, ValueError):
    """A value of the contract that was made with a field of the wrong type, dtype or shape."""
