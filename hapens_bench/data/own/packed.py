"""Packed files: .gz, .zip, .zst and .bz2, told by their first bytes."""

from __future__ import annotations

import bz2
import io
import zipfile
from pathlib import Path

import pyarrow as pa

from hapens_bench.data.parsing import DAMAGED
from hapens_bench.data.sources import read_bytes
from hapens_bench.errors import UserError

ZIP, ZSTD, BZ2 = b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"BZh"


def read_unpacked(path: Path) -> bytes:
    """Return the content of a file, unpacked; a zip archive must hold one file.

    Raises:
        UserError: when there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    content = read_bytes(path)
    try:
        if content.startswith(ZSTD):
            content = pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()
        elif content.startswith(BZ2):
            content = bz2.decompress(content)
        elif content.startswith(ZIP):
            content = _unzipped(path, content)
    except (*DAMAGED, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is cut off or damaged ({reason})") from None
    if not content.strip():
        raise UserError(f"{path} is empty")
    return content.removeprefix("\ufeff".encode())


def _unzipped(path: Path, content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
        if len(names) != 1:
            raise UserError(
                f"{path} holds {len(names)} files ({', '.join(names[:5])}); "
                "unpack it and name one of them"
            )
        return archive.read(names[0])
