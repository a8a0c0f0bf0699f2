"""One patch a request: what its file is called, and whether a file that is there is the one asked for."""

import hashlib
import re
from pathlib import Path

from editcore.cases.reading import request_to_json
from editcore.patches.file.patch import Patch
from editcore_hooks import EditRequest, RefusedFileError


def file_name(request_id: str) -> str:
    """`ID.safetensors`; what is not file-safe becomes a dash, and a hash keeps two such ids apart."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", request_id).strip(".-")[:80]
    if safe != request_id:
        safe += f"-{hashlib.sha256(request_id.encode()).hexdigest()[:8]}"
    return f"{safe.lstrip('-')}.safetensors"


def is_patch_of(path: Path, request: EditRequest, weights_root: str) -> bool:
    """Whether the file is a whole patch of `request` for the model with that root."""
    try:
        header = Patch.read_header(path)
    except RefusedFileError:
        return False
    asked = header.about.get("requests") == [request_to_json(request)]
    return asked and header.annotation("base").get("weights_root") == weights_root
