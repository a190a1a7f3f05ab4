"""Reading a whole checkpoint without a model, only to see that every bit is as it was written."""

from concurrent.futures import ThreadPoolExecutor

from lateen_trainer.checkpoint import zarr
from lateen_trainer.checkpoint.folder import CheckpointFolder
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.digest import DamagedError

_READERS = 8


def verify(folder: CheckpointFolder, manifest: Manifest) -> str | None:
    """What is wrong with a checkpoint; None: every digest is right.

    Args:
        folder: of the run's checkpoints.
        manifest: of the checkpoint, itself already checked.

    Raises:
        OSError: the store cannot be reached or refuses.
    """
    context = zarr.io_context()
    kvstore = folder.kvstore(manifest.step)

    def check(name: str) -> None:
        entry = manifest.arrays[name]
        zarr.check_description(kvstore, name, entry.description_digest, context)
        store = zarr.open_array(kvstore, name, entry.layout, context)
        for number, digest in enumerate(entry.digests):
            zarr.read_chunk(store, name, entry.layout, number, digest)

    with ThreadPoolExecutor(_READERS) as pool:
        checks = [pool.submit(check, name) for name in manifest.arrays]
        try:
            for done in checks:
                done.result()
        except DamagedError as error:
            pool.shutdown(cancel_futures=True)
            return str(error)
    return None
