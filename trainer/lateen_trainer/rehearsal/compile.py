"""Compiles a job's training step for its devices and reads what came out."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from lateen_api.plan import Plan
from lateen_api.plan.compiled import Compiled, CompiledMemory
from lateen_api.spec import JobSpec

from lateen_trainer.data.batch import Batch
from lateen_trainer.errors import UserError
from lateen_trainer.mesh import DATA
from lateen_trainer.rehearsal.program import Program
from lateen_trainer.run import Run
from lateen_trainer.step.train_step import make_train_step


def compile_step(spec: JobSpec, plan: Plan, devices: Sequence[Any]) -> Compiled:
    """The step as the trainer builds it, compiled for all devices of the job.

    Args:
        devices: of all processes; described ones need not exist.

    Raises:
        UserError: the compiler refuses the program, for want of memory say.
    """
    run = Run.build(spec, plan, plan.vocab_size, devices)
    settings = run.settings
    state = run.state_shapes()
    width = spec.trainer.train_batch_size // plan.accumulation_steps

    def array(dtype: Any) -> jax.ShapeDtypeStruct:
        shape = (plan.accumulation_steps, width, spec.model.seq_len + 1)
        return jax.ShapeDtypeStruct(
            shape, dtype, sharding=NamedSharding(settings.rules.mesh, PartitionSpec(None, DATA))
        )

    batch = Batch(
        array(jnp.int32),
        array(jnp.int32) if spec.data.packing == "documents" else None,
        array(jnp.uint8) if any(source.format == "chat" for source in spec.data.sources.values()) else None,
    )
    began = time.perf_counter()
    lowered = make_train_step(settings).lower(state, batch)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        reason = "\n".join(str(error).strip().splitlines()[:12])
        raise UserError(f"spec: the step does not compile for {plan.devices} × {plan.accelerator}: {reason}") from error
    seconds = time.perf_counter() - began
    program = Program(compiled.as_text() or "")
    return Compiled(
        device_kind=devices[0].device_kind,
        devices=plan.devices,
        compile_seconds=round(seconds, 1),
        product_flops=program.product_flops(),
        kernels=program.kernels(),
        memory=_memory(compiled.memory_analysis()),
        collectives=program.collectives(),
    )


def _memory(stats: Any) -> CompiledMemory:
    outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    parts = (stats.argument_size_in_bytes, outputs, stats.temp_size_in_bytes, stats.generated_code_size_in_bytes)
    arguments, outputs, temporaries, code = parts
    return CompiledMemory(
        arguments=arguments,
        outputs=outputs,
        temporaries=temporaries,
        code=code,
        peak=stats.peak_memory_in_bytes,
        total=sum(parts),
    )
