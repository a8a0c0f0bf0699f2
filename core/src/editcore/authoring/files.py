"""Files that survive a crash, and hashes of what is in them."""

from editcore.patches.canonical import load_json, sha256_of
from editcore.patches.durable import make_folder, remove, write_atomically
from editcore.patches.fingerprint import file_sha256

__all__ = ["file_sha256", "load_json", "make_folder", "remove", "sha256_of", "write_atomically"]
