"""Files that survive a crash, and hashes of what is in them."""

from editcore.patches.checkpoint.fingerprint import file_sha256
from editcore.storage.canonical import load_json, sha256_of
from editcore.storage.durable import make_folder, remove, write_atomically
from editcore.text.ids import short

__all__ = ["file_sha256", "load_json", "make_folder", "remove", "sha256_of", "short", "write_atomically"]
