"""The weights of a .keras file are read without Keras, and only such as lie in it."""

import io
import zipfile

import h5py
import numpy as np
import pytest

from sweep.errors import DamagedResultError
from sweep.train.weights import read_weights


def write(path, put):
    """Write a .keras file whose weights `put` writes."""
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        put(weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", file.getvalue())
    return path


def test_every_array_is_read_by_its_path(tmp_path):
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = read_weights(write(tmp_path / "model.keras", lambda weights: weights.create_dataset("a/b/0", data=kernel)))
    assert list(found) == ["a/b/0"]
    np.testing.assert_array_equal(found["a/b/0"], kernel)


def test_numbers_of_another_file_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"0123456789abcdef")
    outside = {"external": [(str(tmp_path / "secret"), 0, 16)]}
    path = write(tmp_path / "model.keras", lambda weights: weights.create_dataset("kernel", (4,), "f4", **outside))
    with pytest.raises(DamagedResultError, match="the numbers of kernel are not in the file"):
        read_weights(path)
