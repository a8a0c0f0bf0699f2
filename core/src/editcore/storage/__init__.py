"""Bytes on a disk: durable writes, locks, canonical JSON, and safetensors files read strictly."""
