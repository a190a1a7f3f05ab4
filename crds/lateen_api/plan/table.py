"""A plan as a table for people."""

import math
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lateen_api.plan.compiled import Compiled
from lateen_api.plan.lora import targeted_layers
from lateen_api.plan.result import Plan, PlannedParameter, PlannedSource
from lateen_api.plan.units import bytes_, count, flops, percent
from lateen_api.spec import LlamaLikeSpec, LMTrainingJob

Row = tuple[str, str]


def plan_table(job: LMTrainingJob, plan: Plan, compiled: Compiled | None = None) -> RenderableType:
    """The plan in sections, each with its figures and their units; what the compiler says, if it was asked."""
    sections = {
        "Machines": _machines(plan),
        "Model": _model(job, plan),
        "Step": _step(plan),
        "Run": _run(job, plan),
        f"Optimizer ({job.spec.optimizer.type})": _optimizer(plan),
        "Memory of a device (estimate)": _memory(plan),
    }
    if compiled is not None:
        sections["Compiled step (per device)"] = _compiled(plan, compiled)
    parts: list[RenderableType] = [Text(f"{job.metadata.name}", style="bold")]
    for title, rows in sections.items():
        parts += [Text(f"\n{title}", style="bold cyan"), Padding(_grid(rows), (0, 0, 0, 2))]
    parts += [Text(f"\nNote: {warning}", style="yellow") for warning in plan.warnings]
    return Group(*parts)


def _grid(rows: Iterable[Row]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=20)
    grid.add_column()
    for name, value in rows:
        grid.add_row(name, Text(value))
    return grid


def _machines(plan: Plan) -> Iterable[Row]:
    yield "accelerator", plan.accelerator
    slices = f" in {_many(plan.slices, 'slice')} of {plan.hosts_per_slice}" if plan.accelerator_kind == "tpu" else ""
    yield "hosts", f"{plan.hosts:,}{slices}"
    yield "devices", f"{plan.devices:,} ({plan.devices_per_host} a host)"
    yield "mesh", f"data {plan.mesh.data} × model {plan.mesh.model}"
    if plan.network != "none":
        yield "network", plan.network
    if len(plan.host_counts) > 1:
        yield "may run on", f"{_some(plan.host_counts)} hosts"


def _model(job: LMTrainingJob, plan: Plan) -> Iterable[Row]:
    model = job.spec.model
    heads = _many(model.num_heads, "head")
    if isinstance(model, LlamaLikeSpec) and model.group_size > 1:
        heads += f" in groups of {model.group_size}"
    yield "architecture", f"{model.type}: {_many(model.num_layers, 'layer')}, width {model.hidden_dim}, {heads}"
    yield "parameters", count(plan.parameters)
    if (lora := job.spec.trainer.lora) is not None:
        share = 100 * plan.trainable_parameters / plan.parameters
        yield "trained", f"{count(plan.trainable_parameters)} ({share:.2g} %)"
        layers = ", ".join(layer.name for layer in targeted_layers(lora, model))
        yield "LoRA", f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}: {layers}"
    padded = f", padded to {plan.padded_vocab_size:,}" if plan.padded_vocab_size > plan.vocab_size else ""
    yield "vocabulary", f"{plan.vocab_size:,} entries{padded}"
    yield "types", f"parameters {plan.param_dtype}, computation {plan.compute_dtype}"
    yield "training", f"{flops(plan.flops_per_token)} a token"


def _step(plan: Plan) -> Iterable[Row]:
    sequences = plan.mesh.data * plan.microbatch * plan.accumulation_steps
    yield "batch", f"{sequences:,} sequences, {count(plan.tokens_per_step)} tokens"
    yield (
        "microbatch",
        f"{_many(plan.microbatch, 'sequence')} a device, {_many(plan.accumulation_steps, 'time')} a step",
    )
    if plan.lanes is not None:
        yield "lanes", f"{plan.lanes}"
    yield "work", f"{flops(plan.flops_per_token * plan.tokens_per_step)}"
    if plan.peak_flops_per_device:
        seconds = plan.flops_per_token * plan.tokens_per_step / (plan.peak_flops_per_device * plan.devices)
        yield "at peak speed", f"{seconds:.3g} s ({flops(plan.peak_flops_per_device)}/s a device)"


def _run(job: LMTrainingJob, plan: Plan) -> Iterable[Row]:
    yield "steps", f"{job.spec.trainer.num_train_steps:,}"
    yield "tokens", count(plan.total_tokens)
    yield "learning rate", f"{job.spec.optimizer.lr_schedule}, peak {job.spec.optimizer.learning_rate:g}"
    yield "warm-up", _many(plan.warmup_steps, "step")
    yield "decay", _many(plan.decay_steps, "step")
    for source in plan.sources:
        yield (f"source {source.name}" if source.name else "data"), _source(source)
    yield "evaluations", f"{plan.evaluations:,}" if plan.evaluations else "none (no spec.data.validationUrls)"


def _source(source: PlannedSource) -> str:
    share = f"{percent(source.share)} of the sequences: {source.sequences:,}"
    read = share if source.name else _many(source.sequences, "sequence")
    if source.available is not None and source.epochs is not None:
        return f"{read}; {source.epochs:,.2f} epochs of {source.available:,}"
    files = f" ({_many(source.files, 'file')}, {bytes_(source.bytes or 0)})" if source.files is not None else ""
    return f"{read}; epochs: {source.unknown}{files}" if source.unknown else read


def _optimizer(plan: Plan) -> Iterable[Row]:
    """Parameters of one rule, rate and decay in one row."""
    alike: dict[Row, list[PlannedParameter]] = {}
    for parameter in plan.optimizer:
        rate_and_decay = f"rate {parameter.learning_rate:g}, decay {parameter.weight_decay:g}"
        alike.setdefault((parameter.rule, rate_and_decay), []).append(parameter)
    for (rule, rate_and_decay), parameters in alike.items():
        numbers = count(sum(math.prod(parameter.axes.values()) for parameter in parameters))
        yield rule, f"{rate_and_decay}: {numbers} parameters"
        for parameter in parameters:
            yield "", f"{parameter.name} {list(parameter.axes.values())}"


def _memory(plan: Plan) -> Iterable[Row]:
    memory = plan.memory
    yield "parameters", bytes_(memory.parameters)
    yield "optimizer", bytes_(memory.optimizer)
    yield "gradients", bytes_(memory.gradients)
    yield "activations", bytes_(memory.activations)
    available = "" if memory.available is None else (
        f" of {bytes_(memory.available)} ({percent(memory.total / memory.available)})"
    )  # fmt: skip
    yield "total", f"{bytes_(memory.total)}{available}"


def _compiled(plan: Plan, compiled: Compiled) -> Iterable[Row]:
    memory = compiled.memory
    yield "devices", f"{compiled.devices:,} × {compiled.device_kind}"
    yield "compile time", f"{compiled.compile_seconds:,.1f} s on this machine"
    work = plan.flops_per_token * plan.tokens_per_step / plan.devices
    done = f" ({percent(compiled.product_flops / work)} of the plan's {flops(work)})"
    yield "matrix products", f"{flops(compiled.product_flops)} per step{done}, kernels not counted"
    for name, times in compiled.kernels.items():
        yield "kernel", f"{name}: {_many(times, 'call')} per step"
    yield "arguments", bytes_(memory.arguments)
    yield "outputs", bytes_(memory.outputs)
    yield "temporaries", bytes_(memory.temporaries)
    yield "code", bytes_(memory.code)
    yield "peak", bytes_(memory.peak)
    share = f"the plan's estimate, {bytes_(plan.memory.total)}, is {percent(plan.memory.total / memory.total)} of it"
    yield "total", f"{bytes_(memory.total)}; {share}"
    for kind, collective in compiled.collectives.items():
        yield kind, f"{_many(collective.count, 'time')} per step, {bytes_(collective.bytes)}"
    if not compiled.collectives:
        yield "collectives", "none"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _some(numbers: list[int]) -> str:
    """All of a few numbers, the ends of many."""
    texts = [f"{number:,}" for number in numbers]
    return ", ".join(texts if len(texts) <= 12 else [*texts[:6], "…", *texts[-3:]])
