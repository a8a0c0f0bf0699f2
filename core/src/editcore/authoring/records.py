"""The texts of a memory, as parts of its payload. Needs no torch to read a manifest."""

from editcore.patches.file.records import compare_records, count_records, record_parts, records_fault, records_of

__all__ = ["compare_records", "count_records", "record_parts", "records_fault", "records_of"]
