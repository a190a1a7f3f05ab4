"""The training of a job, from its first file to its last checkpoint, in the order in which it happens."""

import hashlib
import json
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from lateen_api.environment import ProcessEnvironment
from lateen_api.files import replace_text, resolve_folder
from lateen_api.masking import masked
from lateen_api.plan import Plan, make_plan
from lateen_api.progress import Phase
from lateen_api.spec import LMTrainingJob, LoraSpec
from lateen_api.wording import listing

from lateen_trainer.caches import cache_dir_of, check_same_data, open_caches
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.folder import FIELD as CHECKPOINTS
from lateen_trainer.checkpoint.folder import State
from lateen_trainer.checkpoint.made_by import changes, made_by
from lateen_trainer.checkpoint.restore import OPTIMIZER_TYPE, another_optimizer
from lateen_trainer.data.background import BackgroundBuilder
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.job_data import JobData
from lateen_trainer.data.skips import Skips
from lateen_trainer.data.tokenizer import Tokenizer, load_tokenizer
from lateen_trainer.data.unigram import unigram_entropy
from lateen_trainer.errors import CorruptCheckpointError, UserError, of_the_system
from lateen_trainer.generate.samples import prompts_of, sample_of_data, samples_of_prompts
from lateen_trainer.hugging_face.about import AboutRun, imported_in, lora_in
from lateen_trainer.hugging_face.export import Together
from lateen_trainer.hugging_face.exports import Exports, check_destination
from lateen_trainer.hugging_face.imported import Imported
from lateen_trainer.hugging_face.initial import initial_state
from lateen_trainer.hugging_face.pin import resolved
from lateen_trainer.loop import Loop
from lateen_trainer.models.lora import merged
from lateen_trainer.origin import check_origin, origin_of
from lateen_trainer.processes import Lifecycle, Peers
from lateen_trainer.report.jsonl import JsonLinesTracker
from lateen_trainer.report.reporter import Reporter
from lateen_trainer.rollback import Rollbacks
from lateen_trainer.run import Run
from lateen_trainer.step.state import TrainState
from lateen_trainer.storage import check_writable

log = logging.getLogger(__name__)


def train(job: LMTrainingJob, environment: ProcessEnvironment, life: Lifecycle, peers: Peers, report: Reporter) -> None:
    """Trains the job to its end, or to the step at which all processes agree to stop, and saves it."""
    spec = job.spec
    run_dir = Path(environment.run_dir)
    tokenizer = load_tokenizer(spec.data.tokenizer)
    plan = make_plan(job, vocab_size=tokenizer.vocab_size, hosts=peers.process_count)
    for warning in plan.warnings:
        log.warning(warning)
    checkpoints = open_checkpoints(job, environment, peers)
    checkpoints.check_present()
    if peers.first:  # before anything is tokenised
        if spec.checkpoint.path is not None:
            check_writable(spec.checkpoint.path, field=CHECKPOINTS)
        check_destination(spec.export, run_dir)
    data = open_caches(spec, tokenizer, run_dir, report)
    check_same_data(data.train.values(), peers)
    cache_dir = cache_dir_of(spec, run_dir)
    # The caches of a mixture are whole.
    with BackgroundBuilder(spec.data, tokenizer.name, data.first, cache_dir, seed=spec.trainer.seed) as supply:
        _train_on(data, supply, job, environment, life, peers, report, plan, tokenizer, checkpoints)


def _train_on(
    data: JobData,
    supply: BackgroundBuilder,
    job: LMTrainingJob,
    environment: ProcessEnvironment,
    life: Lifecycle,
    peers: Peers,
    report: Reporter,
    plan: Plan,
    tokenizer: Tokenizer,
    checkpoints: Checkpoints,
) -> None:
    """Trains on what has been opened."""
    spec, run_dir = job.spec, Path(environment.run_dir)
    window = spec.data.shuffle.window
    sequences, validation = data.sequences(spec), data.validation_sources(spec)
    run = Run.build(spec, plan, plan.vocab_size)
    prompts = prompts_of(run, tokenizer)  # refused before the training rather than after it
    checkpoints.claim(f"attempt {environment.attempt} of {job.metadata.name} on {socket.gethostname()}")
    report.phase(Phase.RESTORING)
    batch = spec.trainer.train_batch_size
    origin = origin_of(
        data.train,
        seed=spec.trainer.seed,
        batch=batch,
        lanes=plan.lanes,
        window=window,
        packing=spec.data.packing,
        weights=spec.data.weight_stages if spec.data.configs else None,
    )
    state, past, last_loss, imported = restore_or_init(run, checkpoints, origin, data.first)
    start = int(state.step)
    skips = known_skips(checkpoints, origin, past, peers, data.first)
    report.begin(plan, start)
    if peers.first:
        aside = checkpoints.folder.set_aside_ones()
        report.damaged_checkpoints(sum(one.state is State.CORRUPT for one in aside))
        metrics = JsonLinesTracker(
            run_dir / "metrics.jsonl",
            attempt=environment.attempt,
            start_step=start,
            on_error=lambda error: life.stop_because(of_the_system(error)),
        )
        report.add([metrics])

    about = AboutRun.of(job, plan, tokenizer.eos_id).with_imported(imported)
    exports = Exports(spec.export, run_dir, about, made_by(plan), _together(peers, report))
    loop = Loop(
        run, life, report, checkpoints, sequences, validation, origin,
        first=peers.first, skips=skips, supply=supply, last_loss=last_loss, about=about, exports=exports,
        **({} if peers.process_count == 1 else {"least": _least}),
    )  # fmt: skip
    rollbacks = Rollbacks(
        spec.recovery, loop, report, restore=lambda: restore_or_init(run, checkpoints, origin, data.first)[0]
    )
    state, stopped = rollbacks.run_from(state, start)
    if stopped:
        life.saved()
        return

    if spec.export.hugging_face is not None:
        exports.write_last(int(state.step), run.evaluated(state), loop.losses)
    report.phase(Phase.EXPORTING, "samples of text")
    model = merged(run.evaluated(state))
    text = sample_of_data(run, model, tokenizer, data.shown)
    samples = samples_of_prompts(run, model, tokenizer, prompts)
    if peers.first:
        summary = {
            "step": int(state.step),
            "tokens": int(state.step) * plan.tokens_per_step,
            "loss": loop.last_loss,
            "validationLoss": loop.validation_loss,
            "skippedBatches": loop.skips.batches,
            "skippedDocuments": data.skipped_documents,
            # Of what every run of the job has read, however far its cache has come.
            "unigramEntropy": unigram_entropy(
                data.shown.blocks(stop=None if window is None else window * spec.model.seq_len + 1)
            ),
            "sample": text,
            "samples": samples,
        }
        replace_text(run_dir / "summary.json", json.dumps(summary, indent=2))
    report.phase(Phase.DONE)


def open_checkpoints(job: LMTrainingJob, environment: ProcessEnvironment, peers: Peers) -> Checkpoints:
    """The job's checkpoints, with what they need to agree between processes."""

    together = {} if peers.process_count == 1 else {"barrier": multihost_utils.sync_global_devices, "agree": _agree}
    return Checkpoints(
        resolve_folder(job.spec.checkpoint.path or "checkpoints", Path(environment.run_dir)),
        process_index=peers.process_id,
        process_count=peers.process_count,
        job=job.metadata.name,
        keep=job.spec.checkpoint.keep,
        known_step=environment.checkpoint_step,
        **together,
    )


def _together(peers: Peers, report: Reporter) -> Together:
    """This process among those that export together."""

    def progress() -> None:
        report.phase(Phase.EXPORTING, "Hugging Face")

    agree = {} if peers.process_count == 1 else {"agree": _agree}
    return Together(peers.process_id, peers.process_count, progress=progress, **agree)


def _least(number: int) -> int:
    """The least number of all processes; all of them call it."""
    return int(multihost_utils.process_allgather(np.int32(number)).min())


def _agree(ok: bool) -> bool:
    """Whether it went well for all processes; all of them call it."""
    return bool(multihost_utils.process_allgather(jnp.asarray(ok)).all())


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
