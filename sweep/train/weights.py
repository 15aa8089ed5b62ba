"""Read the weights of a saved model without Keras, which saves seconds and 500 MB; and check them before Keras reads them."""

import json
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sweep.durable.given import MAX_MODEL_BYTES
from sweep.errors import DamagedResultError

WEIGHTS, CONFIG = "model.weights.h5", "config.json"  # members of a .keras file
MEMBERS = {"metadata.json", CONFIG, WEIGHTS}
MAX_CONFIG_BYTES = 2**22
# What a file raises that is none. RuntimeError: packed or encrypted otherwise, nested too deeply; of HDF5.
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return every array of a .keras file, by its path in `model.weights.h5`.

    Raises DamagedResultError if it is not a Keras model.
    """
    try:
        with zipfile.ZipFile(path) as archive, h5py.File(BytesIO(archive.read(WEIGHTS)), "r") as file:
            return {name: array[()] for name, array in _list_arrays(file).items()}
    except UNREADABLE as error:
        raise DamagedResultError(f"{path}: not a Keras model ({error})") from error


def read_config(path: Path) -> Any:
    """Read the config of the model in a .keras file, whose other members were checked: nothing in it leads elsewhere.

    Raises ValueError for one that has other members, is too large, or whose weights are not all in it; and UNREADABLE.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if strange := sorted(sizes.keys() ^ MEMBERS):
            raise ValueError(f"it has, or lacks, {', '.join(strange)[:200]}")
        if sum(sizes.values()) > MAX_MODEL_BYTES or sizes[CONFIG] > MAX_CONFIG_BYTES:
            raise ValueError(f"it unpacks to {sum(sizes.values())} bytes, {sizes[CONFIG]} of them {CONFIG}")
        with h5py.File(BytesIO(archive.read(WEIGHTS)), "r") as file:
            _list_arrays(file)
        return json.loads(archive.read(CONFIG))


def _list_arrays(file: h5py.File) -> dict[str, h5py.Dataset]:
    """List the arrays of numbers in a file, by their paths. Raises ValueError where one is not in it, or says to be huge.

    HDF5 lets a link, or an array's storage, be in any other file: Keras has followed them (CVE-2026-1669).
    """
    found: dict[str, h5py.Dataset] = {}

    def keep(name: str, link: object) -> str | None:
        """Take up one link; what it returns ends the walk, as an error may not in h5py 3.14."""
        if not isinstance(link, h5py.HardLink):
            return f"{name} leads elsewhere"
        item = file[name]
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                return f"the numbers of {name} are not in the file"
            if item.shape is None or item.dtype.kind not in "biuf":
                return f"{name} is no array of numbers"
            found[name] = item
        return None

    if (fault := file.visititems_links(keep)) is not None:
        raise ValueError(fault)
    if (size := sum(array.nbytes for array in found.values())) > MAX_MODEL_BYTES:
        raise ValueError(f"its weights are of {size} bytes")
    return found
