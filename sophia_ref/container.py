"""A file of named arrays under a JSON header: no pickle, no archive, and never mistaken for anything else.

    magic word and version   b"sophia-ref checkpoint 01"
    length of the header     8 bytes, little-endian, at most 1 MiB
    header                   JSON, padded with spaces to a multiple of 64 bytes from the start of the file; its "arrays"
                             says of each, in the order of the file: name, dtype, shape, offset from the header's end
    arrays                   raw, little-endian, in C order; each begins at the next multiple of 64, with zeros between
    checksum                 SHA-256 of all that comes before, 32 bytes

A file has to be this to the byte. Nothing is read or allocated before its size is known to fit the file's own length.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MAGIC, VERSION = b"sophia-ref checkpoint ", b"01"
PREFIX = len(MAGIC + VERSION) + 8
LONGEST_HEADER = 2**20
ALIGNMENT = 64
CHECKSUM = hashlib.sha256().digest_size
DTYPES = ("|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
NAME = re.compile(r"[a-z]\w*(\.\w+)*", re.ASCII)


def write(file: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a whole file. Raises ValueError for an array of another dtype than DTYPES in either byte order, and for a
    header that is too long or not JSON (infinities and NaN are not)."""
    table: list[dict[str, Any]] = []
    pieces: list[Any] = []
    end = 0
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("<")
        if dtype.str not in DTYPES:
            raise ValueError(f"array {name} must hold integers or floats of at most 64 bits, got dtype {array.dtype}")
        offset = _aligned(end)
        pieces += [bytes(offset - end), np.ascontiguousarray(array, dtype).reshape(-1)]
        table.append({"name": name, "dtype": dtype.str, "shape": list(array.shape), "offset": offset})
        end = offset + array.nbytes
    text = json.dumps({**header, "arrays": table}, allow_nan=False).encode()
    text = text.ljust(_aligned(PREFIX + len(text)) - PREFIX)
    if len(text) > LONGEST_HEADER:
        raise ValueError(f"the header must take at most {LONGEST_HEADER} bytes, got {len(text)}")
    checksum = hashlib.sha256()
    for piece in (MAGIC, VERSION, len(text).to_bytes(8, "little"), text, *pieces):
        file.write(piece)
        checksum.update(piece)
    file.write(checksum.digest())


def read(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header, without its table, and the arrays by name, read-only. Raises ValueError, saying what is wrong, for
    anything that `write` would not have written; RecursionError for a header that is nested too deeply."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    prefix = file.read(PREFIX)
    if not prefix.startswith(MAGIC):
        raise ValueError(f"not a checkpoint: it begins with {prefix[: len(MAGIC)]!r}; expected {MAGIC!r}")
    if (version := prefix[len(MAGIC) : len(MAGIC + VERSION)]) != VERSION:
        raise ValueError(f"version {version!r} of the format; expected {VERSION!r}")
    length = int.from_bytes(prefix[-8:], "little")
    data = PREFIX + length
    if len(prefix) < PREFIX or length > LONGEST_HEADER or data % ALIGNMENT or data + CHECKSUM > size:
        raise ValueError(f"a header of {length} bytes in a file of {size}; it is cut short or damaged")
    if _checksum(file, size - CHECKSUM) != file.read(CHECKSUM):
        raise ValueError("its checksum is not that of its contents; it is cut short or damaged")

    file.seek(PREFIX)
    header = _parsed(file.read(length))
    table = header.pop("arrays", None)
    if not isinstance(table, list):
        raise ValueError(f"the header's arrays must be a list, got {table!r}")
    arrays: dict[str, Array] = {}
    end = 0
    for entry in table:
        name, dtype, shape = _checked(entry)
        if name in arrays:
            raise ValueError(f"two arrays of the name {name}")
        start, offset = _aligned(end), entry["offset"]
        if offset != start:
            fault = "overlaps what comes before it" if offset < start else "leaves a gap before it"
            raise ValueError(f"array {name} at offset {offset} {fault}; expected {start}")
        padding, nbytes = start - end, math.prod(shape) * dtype.itemsize
        end = start + nbytes
        if data + end + CHECKSUM > size:
            raise ValueError(f"array {name} of {nbytes} bytes goes beyond the end of the file")
        if any(file.read(padding)):
            raise ValueError(f"something lies between the arrays, before {name}")
        array = np.frombuffer(file.read(nbytes), dtype).reshape(shape)
        arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
    if data + end + CHECKSUM != size:
        raise ValueError(f"{size - CHECKSUM - data - end} bytes too many after the last array")
    return header, arrays


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def _checksum(file: IO[bytes], length: int) -> bytes:
    """SHA-256 of the first bytes, after which the file stands."""
    checksum = hashlib.sha256()
    file.seek(0)
    while length > 0 and (chunk := file.read(min(length, 2**20))):
        checksum.update(chunk)
        length -= len(chunk)
    return checksum.digest()


def _parsed(text: bytes) -> dict[str, Any]:
    """The header's JSON, strictly: no key twice, and finite numbers only."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} stands twice in the header")
            seen[key] = value
        return seen

    def finite(literal: str) -> float:
        if not math.isfinite(value := float(literal)):
            raise ValueError(f"the header holds {literal}; expected finite numbers")
        return value

    try:
        header = json.loads(text, object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"the header must be an object, got {header!r}")
    return header


def _checked(entry: Any) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    """Name, dtype and shape of one array of the table."""
    if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape", "offset"}:
        raise ValueError(f"an array must have name, dtype, shape and offset, got {entry!r}")
    name, dtype, shape, offset = entry["name"], entry["dtype"], entry["shape"], entry["offset"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"an array's name must be words joined by dots, got {name!r}")
    if dtype not in DTYPES:
        raise ValueError(f"array {name}: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if not isinstance(shape, list) or len(shape) > 64 or not all(map(_is_size, shape)):
        raise ValueError(f"array {name}: shape must be a list of at most 64 integers >= 0, got {shape!r}")
    if not _is_size(offset):
        raise ValueError(f"array {name}: offset must be an integer >= 0, got {offset!r}")
    return name, np.dtype(dtype), tuple(shape)


def _is_size(n: Any) -> bool:
    return type(n) is int and 0 <= n < 2**63
