"""`make_plan`: all that follows from a job before anything is created, or why it cannot run."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from lateen_api.errors import JobError, raise_all
from lateen_api.gpu_network import network_of
from lateen_api.hugging_face.initial_model import check_initial_model
from lateen_api.plan.checks import (
    check_data,
    check_durations,
    check_export,
    check_model,
    check_name,
    check_trainer,
    read_precision,
)
from lateen_api.plan.exposed import exposed_secrets
from lateen_api.plan.fleet import Fleet, read_fleet
from lateen_api.plan.layout import Layout, Planner
from lateen_api.plan.lora import all_parameters, check_lora, trained_parameters
from lateen_api.plan.memory import gathers_once
from lateen_api.plan.mixture import planned_sources
from lateen_api.plan.parameter_rules import check_groups, parameter_rule
from lateen_api.plan.result import Plan, PlannedParameter
from lateen_api.plan.schedule import check_schedule, decay_steps, evaluation_count, steps_of
from lateen_api.plan.transformer import parameter_count, training_flops_per_token
from lateen_api.plan.units import bytes_
from lateen_api.plan.vocabulary import ASSUMED_VOCAB_SIZE, known_vocab_size, padded_vocab_size
from lateen_api.precision import Precision
from lateen_api.spec import JobSpec, LMTrainingJob
from lateen_api.unavailable import check_available

TIGHT_MEMORY = 0.9
"""Estimate, in parts of a device's memory, from which there is a warning."""

_SMALLEST_CHANGE = {"bfloat16": 256, "float16": 2048}
"""Numbers of 8 and 11 significant bits: about the smallest part of a number by which the next one differs."""

T = TypeVar("T")


def make_plan(
    job: LMTrainingJob, *, vocab_size: int | None = None, hosts: int | None = None, cores: int | None = None
) -> Plan:
    """Plans a job. Pure: reads no file and asks no machine.

    Args:
        job: the job.
        vocab_size: entries of the tokenizer's vocabulary; None: known by the tokenizer's name, or assumed.
        hosts: hosts to plan with instead of those that the job starts with.
        cores: cores of a CPU host; None: as many as `spec.compute.cpu` asks for, or 2.

    Raises:
        JobError: the job cannot run as it is written. Several reasons come as one JobErrors.
    """
    spec = job.spec
    vocab_size, warnings, vocabulary_errors = _vocabulary(spec, vocab_size)
    padded = padded_vocab_size(vocab_size, spec.trainer)
    errors = [
        *check_initial_model(spec),
        *vocabulary_errors,
        *check_available(spec),
        *check_data(spec.data),
        *check_model(spec, padded),
        *check_lora(spec),
        *check_trainer(spec),
        *check_durations(spec),
        *check_export(spec.export),
        *check_schedule(spec),
    ]
    precision = _collect(errors, lambda: read_precision(spec))
    fleet = _collect(errors, lambda: read_fleet(spec.compute, hosts=hosts, cores=cores))
    if fleet is not None:
        most_slices = max(fleet.most, fleet.hosts) // fleet.hosts_per_slice
        is_tpu = fleet.accelerator.kind == "tpu"
        errors += check_name(job, *((most_slices, fleet.hosts_per_slice) if is_tpu else (1, most_slices)))
    blocking = ("spec.model.", "spec.trainer.perDeviceParallelism", "spec.trainer.lora.")
    blocked = any(error.where.startswith(blocking) for error in errors)
    if fleet is None or precision is None or blocked:
        raise_all(errors)
        raise AssertionError("a stage failed without saying why")
    trainer = spec.trainer
    errors += check_groups(spec.optimizer, trained_parameters(spec.model, padded, trainer.lora))
    planner = Planner(spec, fleet, precision, padded)
    network = _collect(errors, lambda: _network(spec, fleet))
    layout = _collect(errors, lambda: planner.lay_out(fleet.hosts))
    raise_all(errors)
    assert layout is not None and network is not None, "a stage failed without saying why"

    is_tpu = fleet.accelerator.kind == "tpu"
    tokens_per_step = trainer.train_batch_size * spec.model.seq_len
    every, trained = (
        sum(parameter.size for parameter in kind(spec.model, vocab_size, trainer.lora))
        for kind in (all_parameters, trained_parameters)
    )
    eval_parallelism = trainer.per_device_eval_parallelism
    return Plan(
        accelerator=fleet.accelerator.name,
        accelerator_kind=fleet.accelerator.kind,
        hosts=layout.hosts,
        slices=layout.hosts // fleet.hosts_per_slice if is_tpu else 1,
        hosts_per_slice=fleet.hosts_per_slice if is_tpu else layout.hosts,
        processes=layout.hosts,
        devices_per_host=layout.devices_per_host,
        devices=layout.hosts * layout.devices_per_host,
        network=network,
        host_counts=planner.host_counts(),
        mesh=layout.mesh,
        microbatch=layout.microbatch,
        eval_microbatch=eval_parallelism if eval_parallelism > 0 else layout.microbatch,
        accumulation_steps=layout.accumulation_steps,
        lanes=layout.lanes,
        cpu_threads=planner.cpu_threads(),
        gather_once=gathers_once(parameter_count(spec.model, padded)),
        param_dtype=precision.params,
        compute_dtype=precision.compute,
        tokens_per_step=tokens_per_step,
        total_tokens=tokens_per_step * trainer.num_train_steps,
        vocab_size=vocab_size,
        padded_vocab_size=padded,
        parameters=every,
        trainable_parameters=trained,
        flops_per_token=training_flops_per_token(spec.model, vocab_size, trainer.lora),
        peak_flops_per_device=fleet.accelerator.peak_flops,
        memory=layout.memory,
        warmup_steps=steps_of(spec.optimizer.warmup, trainer.num_train_steps),
        decay_steps=decay_steps(spec.optimizer, trainer.num_train_steps),
        optimizer=_planned_parameters(spec, vocab_size),
        evaluations=evaluation_count(spec),
        sources=planned_sources(spec),
        warnings=[*warnings, *_warnings(spec, fleet, layout, precision, planner.cpu_threads())],
    )


def _planned_parameters(spec: JobSpec, vocab_size: int) -> list[PlannedParameter]:
    return [
        PlannedParameter(
            name=parameter.checkpoint_name,
            axes=parameter.axes,
            **asdict(parameter_rule(spec.optimizer, parameter.checkpoint_name, tuple(parameter.axes))),
        )
        for parameter in trained_parameters(spec.model, vocab_size, spec.trainer.lora)
    ]


def _network(spec: JobSpec, fleet: Fleet) -> str:
    gpus = fleet.devices_per_host or 0 if fleet.accelerator.kind == "gpu" else 0
    return network_of(spec.compute, gpus=gpus, most_hosts=max(fleet.most, fleet.hosts))


def _collect(errors: list[JobError], stage: Callable[[], T]) -> T | None:
    """The result of a stage, or None and its errors put to the others."""
    try:
        return stage()
    except JobError as error:
        errors.extend(error.errors)
        return None


def _vocabulary(spec: JobSpec, given: int | None) -> tuple[int, list[str], list[JobError]]:
    """Entries of the model's vocabulary, what is to be known of them, and what is wrong with them."""
    known = given if given is not None else known_vocab_size(spec.data.tokenizer)
    own = spec.model.vocab_size
    if own is not None and own < (known or 0):
        error = JobError(
            "spec.model.vocabSize",
            f"is {own:,}, and spec.data.tokenizer {spec.data.tokenizer} has {known:,} entries: expected at least as "
            "many. Take the tokenizer that belongs to the model, or another vocabSize.",
        )
        return own, [], [error]
    if own is not None or known is not None:
        return own or known or 0, [], []
    warning = (
        f"The vocabulary of spec.data.tokenizer {spec.data.tokenizer} is not known here: parameters, FLOPs and memory "
        f"are those of {ASSUMED_VOCAB_SIZE:,} entries."
    )
    return ASSUMED_VOCAB_SIZE, [warning], []


def _warnings(spec: JobSpec, fleet: Fleet, layout: Layout, precision: Precision, cpu_threads: int | None) -> list[str]:
    warnings = exposed_secrets(spec)
    if spec.trainer.lora is not None and spec.trainer.initialize_from is None:
        warnings.append(
            "spec.trainer.lora leaves the model as it is, and that is random weights: spec.trainer.initializeFrom is "
            "not set."
        )
    if cpu_threads is not None and cpu_threads < fleet.cores:
        warnings.append(
            f"{cpu_threads} of the {fleet.cores} cores of a host are used, since in elastic mode their number shows in "
            f"the bits of the losses. Set spec.compute.cpu to {fleet.cores} to use them all, here and elsewhere."
        )
    if layout.lanes == 1:
        warnings.append(
            f"The batch of {spec.trainer.train_batch_size} is a single lane: the job can run on one device only. "
            "An even spec.trainer.trainBatchSize could be shared out."
        )
    if spec.trainer.lanes is not None and spec.trainer.reproducibility == "fast":
        warnings.append("spec.trainer.lanes is not used: spec.trainer.reproducibility is fast.")
    if layout.lanes is not None and layout.mesh.model > 2:
        warnings.append(
            "Equal bits on other numbers of hosts are not proven yet with spec.trainer.modelAxisSize above 2: "
            "expect them on the same number of hosts only."
        )
    if layout.lanes is not None and precision.compute == "float16":
        warnings.append(
            "Equal bits on other numbers of hosts are not proven yet in float16: expect them on the same number of "
            "hosts only. They are in spec.trainer.mp f32 and p=f32,c=bfloat16."
        )
    if precision.params != "float32":
        warnings.append(
            f"spec.trainer.mp keeps parameters in {precision.params}: changes below about 1/"
            f"{_SMALLEST_CHANGE[precision.params]:,} of a weight are rounded away. p=f32,c={precision.compute} keeps "
            "them in float32."
        )
    if precision.compute == "float16":
        warnings.append("spec.trainer.mp computes in float16 without scaling the loss: bfloat16 is safer.")
    ranged = fleet.fewest != fleet.most
    if ranged and not fleet.fewest <= fleet.hosts <= fleet.most:
        warnings.append(f"{fleet.hosts} hosts are outside what the job allows, {fleet.fewest} to {fleet.most}.")
    memory = layout.memory
    if memory.available is not None and memory.total > TIGHT_MEMORY * memory.available:
        warnings.append(
            f"Memory may run out: a device needs about {bytes_(memory.total)} of {bytes_(memory.available)}. "
            "A smaller spec.trainer.perDeviceParallelism, more hosts or a larger spec.trainer.modelAxisSize need less."
        )
    return warnings
