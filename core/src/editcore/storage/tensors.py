"""Stored bytes and torch tensors, both ways, without a change of a single bit."""

import warnings
from typing import Final

import torch

from editcore.storage.safetensors_writer import Blob, Streamed

TORCH_DTYPES: Final = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
DTYPE_NAMES: Final = {dtype: name for name, dtype in TORCH_DTYPES.items()}


def tensor_of(dtype: str, shape: tuple[int, ...], data: bytes) -> torch.Tensor:
    """The tensor whose stored bytes are `data`; owns its memory."""
    if not data:
        return torch.empty(shape, dtype=TORCH_DTYPES[dtype])
    return torch.frombuffer(bytearray(data), dtype=TORCH_DTYPES[dtype]).reshape(shape)


def view_of(dtype: str, shape: tuple[int, ...], data: bytes) -> torch.Tensor:
    """The same in the memory of `data`, for who only reads it."""
    if not data:
        return torch.empty(shape, dtype=TORCH_DTYPES[dtype])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it could be written to
        return torch.frombuffer(data, dtype=TORCH_DTYPES[dtype]).reshape(shape)


def blob_of(tensor: torch.Tensor) -> Blob:
    """The stored bytes of a tensor, from whatever device and layout it has."""
    plain = tensor.detach().cpu().contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return Blob(DTYPE_NAMES[plain.dtype], tuple(plain.shape), data)


def streamed_of(tensor: torch.Tensor) -> Streamed:
    """The same without a copy of a tensor that lies in CPU memory in order; it must not change before it is written."""
    plain = tensor.detach().cpu().contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else memoryview(b"")
    return Streamed(DTYPE_NAMES[plain.dtype], tuple(plain.shape), lambda: data)
