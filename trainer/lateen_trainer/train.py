"""The training of a job, from its first file to its last checkpoint, in the order in which it happens."""

import json
import logging
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from lateen_api.environment import ProcessEnvironment
from lateen_api.files import replace_text, resolve_folder
from lateen_api.plan import Plan, make_plan
from lateen_api.progress import Phase
from lateen_api.spec import LMTrainingJob

from lateen_trainer.caches import check_same_data, open_caches
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.folder import FIELD as CHECKPOINTS
from lateen_trainer.checkpoint.folder import State
from lateen_trainer.checkpoint.made_by import made_by
from lateen_trainer.data.background import BackgroundBuilder
from lateen_trainer.data.job_data import JobData, cache_dir_of
from lateen_trainer.data.tokenizer import Tokenizer, load_tokenizer
from lateen_trainer.data.unigram import unigram_entropy
from lateen_trainer.errors import of_the_system
from lateen_trainer.generate.samples import prompts_of, sample_of_data, samples_of_prompts
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.export import Together
from lateen_trainer.hugging_face.exports import Exports, check_destination
from lateen_trainer.loop import Loop
from lateen_trainer.models.lora import merged
from lateen_trainer.origin import origin_of
from lateen_trainer.processes import Lifecycle, Peers
from lateen_trainer.report.jsonl import JsonLinesTracker
from lateen_trainer.report.reporter import Reporter
from lateen_trainer.resume import known_skips, restore_or_init
from lateen_trainer.rollback import Rollbacks
from lateen_trainer.run import Run
from lateen_trainer.saving import Saving
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
    data = open_caches(spec, tokenizer, run_dir, report, builder=peers.process_id)
    check_same_data(data.train.values(), peers)
    cache_dir = cache_dir_of(spec.data, run_dir)
    with BackgroundBuilder(spec, tokenizer.name, data.train, cache_dir) as supply:
        _train_on(_Opened(job, environment, plan, tokenizer, checkpoints, data, supply), life, peers, report)


@dataclass(frozen=True)
class _Opened:
    """What a run works with, and which is there before the model is built."""

    job: LMTrainingJob
    environment: ProcessEnvironment
    plan: Plan
    tokenizer: Tokenizer
    checkpoints: Checkpoints
    data: JobData
    supply: BackgroundBuilder


def _train_on(opened: _Opened, life: Lifecycle, peers: Peers, report: Reporter) -> None:
    job, environment, plan, tokenizer = opened.job, opened.environment, opened.plan, opened.tokenizer
    checkpoints, data = opened.checkpoints, opened.data
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
    saving = Saving(run, report, checkpoints, origin, about)
    loop = Loop(
        run, life, report, saving, sequences, validation,
        first=peers.first, skips=skips, supply=opened.supply, last_loss=last_loss, exports=exports,
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
        summary = _summary(loop, plan, data, int(state.step)) | {
            # Of what every run of the job has read, however far its cache has come.
            "unigramEntropy": unigram_entropy(
                data.shown.blocks(stop=None if window is None else window * spec.model.seq_len + 1)
            ),
            "sample": text,
            "samples": samples,
        }
        replace_text(run_dir / "summary.json", json.dumps(summary, indent=2))
    report.phase(Phase.DONE)


def _summary(loop: Loop, plan: Plan, data: JobData, step: int) -> dict[str, Any]:
    """The last figures of a run."""
    return {
        "step": step,
        "tokens": step * plan.tokens_per_step,
        "loss": loop.last_loss,
        "validationLoss": loop.validation_loss,
        "skippedBatches": loop.skips.batches,
        "skippedDocuments": data.skipped_documents,
    }


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
