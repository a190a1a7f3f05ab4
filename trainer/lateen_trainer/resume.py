"""Where a run begins: at the newest good checkpoint, at the parameters of another model, or at new ones."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.experimental import multihost_utils
from lateen_api.masking import masked
from lateen_api.spec import LoraSpec
from lateen_api.wording import listing

from lateen_trainer.checkpoint.access import explained
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.folder import FIELD as CHECKPOINTS
from lateen_trainer.checkpoint.made_by import changes, made_by
from lateen_trainer.checkpoint.restore import OPTIMIZER_TYPE, another_optimizer
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.skips import Skips
from lateen_trainer.errors import CorruptCheckpointError, UserError
from lateen_trainer.hugging_face.about import imported_in, lora_in
from lateen_trainer.hugging_face.imported import Imported
from lateen_trainer.hugging_face.initial import initial_state
from lateen_trainer.hugging_face.pin import resolved
from lateen_trainer.origin import check_origin
from lateen_trainer.processes import Peers
from lateen_trainer.run import Run
from lateen_trainer.step.state import TrainState

log = logging.getLogger(__name__)


def restore_or_init(
    run: Run, checkpoints: Checkpoints, origin: Mapping[str, Any], tokens: TokenCache
) -> tuple[TrainState, Skips, float | None, Imported | None]:
    """The newest good checkpoint's state, or a new one, the batches that were left out on the way to it, the training
    loss of its last step in nats per token, and what the run keeps of the folder that it began with.

    Args:
        origin: what determines the losses. A checkpoint of another origin is not gone on from, since the rest of the
            run would skip some sequences and repeat others, or have other bits.

    Raises:
        UserError: the checkpoint's origin is another, or its optimizer.
    """
    restored = checkpoints.restore(run.state_shapes())
    if restored is None and run.spec.trainer.initialize_from is not None:
        url = checkpoints.pin_initial(run.spec.trainer.initialize_from, resolved)
        state, imported = initial_state(run, url)
        log.info("Starting from the parameters of %s", masked(url))
        return state, Skips(), None, imported
    if restored is None:
        return run.init_state(), Skips(), None, None
    state, metadata = restored
    what = f"a checkpoint of step {int(state.step)} ({checkpoints.last_committed_url}) that was trained"
    check_origin(what, metadata, origin, tokens)
    trained_with = metadata.get(OPTIMIZER_TYPE)
    if trained_with not in (None, run.spec.optimizer.type):
        raise another_optimizer(str(checkpoints.last_committed_url), trained_with)
    check_lora(what, metadata, run.spec.trainer.lora)
    log.info("Going on from step %d of %s", int(state.step), checkpoints.last_committed_url)
    if changed := changes(metadata.get("madeBy", {}), made_by(run.plan)):
        log.warning("It was made by something else (%s): losses may differ from here on.", listing(changed, "and"))
    skips = Skips({int(batch): reason for batch, reason in metadata.get("skipped", {}).items()})
    return state, skips, metadata.get("trainLoss"), imported_in(metadata)


def check_lora(what: str, metadata: Mapping[str, Any], lora: LoraSpec | None) -> None:
    """Compares what the arrays of a checkpoint do not show: by how much its adapters count.

    Args:
        what: the checkpoint, for the message.

    Raises:
        UserError: it is another factor.
    """
    before = lora_in(metadata)
    if before is not None and lora is not None and before.alpha != lora.alpha:
        raise UserError(
            f"{CHECKPOINTS} holds {what} with spec.trainer.lora.alpha {before.alpha:g}, and the job has "
            f"{lora.alpha:g}: expected the same, since its adapters count alpha / rank times. Set it as it was, or "
            f"choose another {CHECKPOINTS}."
        )


def known_skips(
    checkpoints: Checkpoints, origin: Mapping[str, Any], past: Skips, peers: Peers, tokens: TokenCache
) -> Skips:
    """The batches that the run leaves out: those of its ledger, and those that are part of its past.

    Args:
        past: left out on the way to the checkpoint that the run goes on from, whatever the ledger says.

    Raises:
        UserError: the ledger is of another origin, so that its numbers are of other batches.
        CorruptCheckpointError: it is damaged, or other processes read something else.
    """
    with explained(checkpoints.folder.url):
        reasons, metadata = checkpoints.folder.skipped()
    check_origin(
        f"a list of batches to leave out ({checkpoints.folder.skipped_url}) that was written", metadata, origin, tokens
    )
    skips = Skips({**past.reasons, **reasons})
    if peers.process_count > 1:
        digest = np.frombuffer(hashlib.sha256(str(skips.batches).encode()).digest(), np.uint8)
        if (multihost_utils.process_allgather(digest) != digest).any():
            raise CorruptCheckpointError(
                f"{checkpoints.folder.skipped_url} does not say the same to all processes: expected a folder that all "
                "hosts share and see alike."
            )
    return skips
