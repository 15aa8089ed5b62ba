"""What a data file unpacks to, found out before it is: a few bytes may stand for more than any memory holds."""

import gzip
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from sweep.data.text_table import suffix_of
from sweep.errors import InvalidDataError

MAX_TIMES, SMALL = 1000, 2**30  # times its size that a file may unpack to, if that is more than so many bytes
OBJECT_BYTES = 64  # of a text as Python holds it, beside its letters


def check_file(path: Path, wanted: str) -> None:
    """Check that `path` is a file, which unpacks to what memory holds. wanted: words for where there is none.

    Raises InvalidDataError.
    """
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):  # ValueError: a zero byte in the path
        raise InvalidDataError(f"{path}: no such file; {wanted}") from None
    if not is_file:
        raise InvalidDataError(f"{path}: no such file, it is a folder, a pipe or a device; {wanted}")
    _check_size(path)


def _check_size(path: Path) -> None:
    """Refuse a file that would unpack to over half of the memory, as a zip bomb does."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    unpacked = _count_bytes(path, memory / 2)
    if unpacked > memory / 2:
        raise InvalidDataError(
            f"{path}: unpacks to {unpacked / 2**30:,.1f} GiB{' or more' * (path.suffix.lower() == '.gz')}, more than half of this machine's memory of "
            f"{memory / 2**30:,.1f} GiB; keep fewer rows, or smaller numbers such as uint8"
        )
    if unpacked > max(SMALL, MAX_TIMES * path.stat().st_size):
        raise InvalidDataError(
            f"{path}: unpacks to {unpacked / 2**30:,.1f} GiB, more than {MAX_TIMES} times its size: nearly all of its rows are "
            "equal; write the table anew as .csv, if it is meant so"
        )


def _count_bytes(path: Path, limit: float) -> int:
    """Return the bytes that a file unpacks to, counted until over `limit`; 0 if that is unreadable: reading the file then says why."""
    try:
        if suffix_of(path) == ".npz":
            with zipfile.ZipFile(path) as archive:
                return sum(member.file_size for member in archive.infolist())
        if suffix_of(path) == ".parquet":
            return _count_parquet(path, limit)
        if path.suffix.lower() == ".gz":  # which does not state it
            with gzip.open(path) as file:
                return sum(map(len, _read_up_to(cast(IO[bytes], file), limit)))
        return path.stat().st_size
    except (OSError, ValueError, EOFError, NotImplementedError, RecursionError, zipfile.BadZipFile, zlib.error):
        return 0


def _read_up_to(file: IO[bytes], limit: float) -> Iterator[bytes]:
    """Yield the content of a file in pieces, until these are of more than `limit` bytes."""
    while limit >= 0 and (piece := file.read(2**20)):
        limit -= len(piece)
        yield piece


def _count_parquet(path: Path, limit: float) -> int:
    """Count a table as it lies in memory: 8 bytes a number or more, and every text as often as it stands there."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        metadata = file.metadata
        widths = [max(8, metadata.schema.column(j).length or 0) for j in range(metadata.num_columns)]
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        # Lists hold more values than there are rows, and may say that they hold fewer.
        total: int = sum(
            max(group.column(j).num_values, group.num_rows) * width
            for group in groups
            for j, width in enumerate(widths)
        )
        columns = [group.column(j) for group in groups for j in range(metadata.num_columns)]
        texts = list(dict.fromkeys(c.path_in_schema for c in columns if c.physical_type == "BYTE_ARRAY"))
    return total if total > limit or not texts else total + _count_texts(path, texts, limit - total)


def _count_texts(path: Path, columns: list[str], limit: float) -> int:
    """Count the bytes of texts, until over `limit`. They are read as numbers of a dictionary, which holds each text once."""
    from pyarrow import parquet

    total = 0
    with parquet.ParquetFile(path, read_dictionary=columns) as file:
        for batch in file.iter_batches(columns=columns):
            total += sum(map(_count_array, batch.columns))
            if total > limit:
                break
    return total


def _count_array(array: Any) -> int:
    """Count the bytes of an array of Arrow with every text of a dictionary written out, in lists and structures too."""
    import pyarrow
    from pyarrow import compute

    if isinstance(array, pyarrow.DictionaryArray):
        lengths = compute.take(compute.binary_length(array.dictionary), array.indices)
        return int(compute.sum(lengths).as_py() or 0) + OBJECT_BYTES * len(array)
    if isinstance(array, pyarrow.MapArray):
        return _count_array(array.keys) + _count_array(array.items)
    if isinstance(array, pyarrow.StructArray):
        return sum(map(_count_array, array.flatten()))
    return _count_array(array.flatten()) if hasattr(array, "flatten") else int(array.nbytes)
