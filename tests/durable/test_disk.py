"""Network file systems are refused, because they do not keep the locks of a database."""

from pathlib import Path

import pytest

from sweep.durable.disk import check_keeps_locks
from sweep.errors import StorageError

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/vdb /home/scratch xfs rw 0 0
//files/all /mnt/all\\040files cifs rw 0 0
me@there: /mnt/there fuse.sshfs rw 0 0
/dev/vdc /mnt/stick fuseblk rw 0 0
host0 /mnt/host 9p rw 0 0
shared /mnt/shared virtiofs rw 0 0
10.0.0.1:/ /mnt/ceph ceph rw 0 0
"""


@pytest.fixture
def mounts(tmp_path):
    (tmp_path / "mounts").write_text(MOUNTS)
    return tmp_path / "mounts"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/mlruns", "nfs4"),
        ("/mnt/all files/mlruns", "cifs"),
        ("/mnt/there", "fuse.sshfs"),
        ("/mnt/host/x", "9p"),
        ("/mnt/shared", "virtiofs"),
        ("/mnt/ceph/a/b", "ceph"),
    ],
)
def test_a_file_system_of_the_network_is_refused(path, kind, mounts):
    with pytest.raises(
        StorageError, match=rf"^{path} lies on {kind}, .* choose a --runs-dir on a disk of this machine$"
    ):
        check_keeps_locks(Path(path), mounts)


@pytest.mark.parametrize("path", ["/work/mlruns", "/home/scratch/mlruns", "/homes/mlruns", "/mnt/stick/mlruns"])
def test_a_disk_of_this_machine_is_not(path, mounts):
    check_keeps_locks(Path(path), mounts)


def test_a_machine_that_does_not_tell_is_trusted(tmp_path):
    check_keeps_locks(tmp_path, tmp_path / "none")
