"""A training step of lateen beside PyTorch's GPT-2 and Llama (transformers), eager and compiled: same shapes, same
precision.

    python tests/benchmarks/bench_train.py [--shape nano] [--rounds 7] [--levanter PYTHON]

With the Python of an environment that has Levanter, its GPT-2 is a further candidate (`make bench-train LEVANTER=1`).
Every candidate is a process of its own that holds a model and makes one step when told to. The candidates take
turns within a round, so that all meet the same machine, and ratios are taken round by round. A step is a whole one:
forward, backward, clipping by global norm, AdamW with weight decay. All candidates get their memory in huge pages, as
`lateen run` gives it to its trainers.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from candidate import Candidate, serve
from lateen_api.environment import HUGE_PAGES
from machine import machine


@dataclass(frozen=True)
class Shape:
    """A GPT-2, or a Llama with grouped heads, and its batch."""

    hidden: int
    heads: int
    layers: int
    seq_len: int
    vocab: int
    batch: int
    kv_heads: int | None = None
    """Heads of keys and values of a Llama; None: it is a GPT-2."""

    intermediate: int | None = None
    """Width of a Llama's MLP."""

    @property
    def model(self) -> dict[str, Any]:
        """`spec.model`."""
        fields = {
            "hiddenDim": self.hidden, "numHeads": self.heads, "numLayers": self.layers, "seqLen": self.seq_len,
            "gradientCheckpointing": False,
        }  # fmt: skip
        if self.kv_heads is None:
            return fields
        return {**fields, "type": "llama", "numKvHeads": self.kv_heads, "intermediateDim": self.intermediate}

    def training_flops(self) -> int:
        """FLOPs of a step: three times those of the forward pass, by the plan's formula."""
        from lateen_api.plan import training_flops_per_token
        from lateen_api.spec import JobSpec

        spec = JobSpec.model_validate({"data": {"trainUrls": ["none"]}, "model": self.model}).model
        return training_flops_per_token(spec, self.vocab) * self.batch * self.seq_len


SHAPES = {
    "nano": Shape(128, 4, 4, 256, 257, 32),
    "small": Shape(768, 12, 12, 1024, 50257, 4),
    "llama": Shape(768, 12, 12, 512, 32000, 2, kv_heads=4, intermediate=2048),
}


def lateen_step(shape: Shape) -> Callable[[np.ndarray], float]:
    """lateen's step as `lateen train` would run it on this machine."""
    import jax
    from lateen_api.plan import make_plan
    from lateen_api.spec import LMTrainingJob
    from lateen_trainer.data.batch import Batch
    from lateen_trainer.processes.accelerator import choose_devices
    from lateen_trainer.run import Run
    from lateen_trainer.step.placement import BatchPlacement
    from lateen_trainer.step.state import init_state
    from lateen_trainer.step.train_step import make_train_step

    job = LMTrainingJob.model_validate(
        {
            "metadata": {"name": "bench"},
            "spec": {
                "model": shape.model,
                "data": {"tokenizer": "bytes", "trainUrls": ["none"]},
                "trainer": {"trainBatchSize": shape.batch, "numTrainSteps": 1000},
            },
        }
    )
    plan = make_plan(job, vocab_size=shape.vocab, cores=os.cpu_count())
    choose_devices(plan.devices_per_host)
    run = Run.build(job.spec, plan, shape.vocab)
    settings = run.settings
    step = make_train_step(settings)
    placement = BatchPlacement(settings.rules, shape.batch, plan.accumulation_steps)
    state = init_state(run.make_model, settings.optimizer, settings.rules)

    def train(tokens: np.ndarray) -> float:
        nonlocal state
        state, metrics = step(state, placement.place(Batch(tokens)))
        return float(jax.block_until_ready((state, metrics))[1]["loss"])

    return train


def torch_model(shape: Shape) -> Any:
    """The model in transformers."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    if shape.kv_heads is None:
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=shape.vocab, n_positions=shape.seq_len, n_embd=shape.hidden, n_layer=shape.layers,
                n_head=shape.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
                attn_implementation="sdpa",
            )
        )  # fmt: skip
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocab, max_position_embeddings=shape.seq_len, hidden_size=shape.hidden,
            num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
            intermediate_size=shape.intermediate, use_cache=False, attn_implementation="sdpa",
        )
    )  # fmt: skip


def torch_step(shape: Shape, *, compiled: bool) -> Callable[[np.ndarray], float]:
    """The same step in PyTorch, with the fused implementations of attention and AdamW that it offers."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    model = torch_model(shape)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    exempt = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": exempt, "weight_decay": 0.0}],
        lr=6e-4, betas=(0.9, 0.95), fused=True,
    )  # fmt: skip

    def loss_of(inputs, targets):
        logits = model(input_ids=inputs).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    loss_function = torch.compile(loss_of) if compiled else loss_of

    def train(tokens: np.ndarray) -> float:
        batch = torch.from_numpy(tokens.astype(np.int64))
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(batch[:, :-1], batch[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return train


LEVANTER = "levanter"

CANDIDATES: dict[str, Callable[[Shape], Callable[[np.ndarray], float]]] = {
    "lateen": lateen_step,
    "torch": lambda shape: torch_step(shape, compiled=False),
    "torch.compile": lambda shape: torch_step(shape, compiled=True),
}


def work(name: str, shape: Shape) -> None:
    """A candidate's process. Batches are drawn beforehand: what is timed is the step."""
    step, rng = CANDIDATES[name](shape), np.random.default_rng(0)

    def draw() -> np.ndarray:
        return rng.integers(0, shape.vocab, (shape.batch, shape.seq_len + 1), dtype=np.int32)

    tokens = draw()

    def facts() -> dict[str, int]:
        nonlocal tokens
        tokens = draw()
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    serve(lambda: step(tokens), facts)


def candidate(name: str, shape: Shape, levanter: Path | None) -> Candidate:
    """The candidate as a process.

    Args:
        levanter: a Python that can import Levanter.
    """
    command = [sys.executable, __file__, "--work", name, json.dumps(asdict(shape))]
    if name == LEVANTER:
        command = [str(levanter), str(Path(__file__).with_name("levanter_step.py")), json.dumps(asdict(shape))]
    environ = {**HUGE_PAGES, **os.environ, "JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"}
    return Candidate(name, command, environ, stderr=subprocess.DEVNULL)


def matmul_peak() -> float:
    """The best FLOP/s of float32 matrix products that jax reaches here, over a few shapes."""
    import jax
    import jax.numpy as jnp

    best = 0.0
    for m, n, k in [(1024, 1024, 1024), (2048, 2048, 2048), (4096, 3072, 768), (1024, 768, 3072)]:
        a, b = jnp.ones((m, k)), jnp.ones((k, n))
        product = jax.jit(jnp.matmul)
        product(a, b).block_until_ready()
        for _ in range(5):
            began = time.perf_counter()
            product(a, b).block_until_ready()
            best = max(best, 2 * m * n * k / (time.perf_counter() - began))
    return best


def compare(name: str, shape: Shape, candidates: list[str], rounds: int, peak: float, levanter: Path | None) -> None:
    """Prints a table of the candidates at one shape; how far it is, to stderr."""
    if levanter is not None and shape.kv_heads is None:
        candidates = [*candidates, LEVANTER]
    with contextlib.ExitStack() as stack:
        workers = []
        for one in candidates:
            worker = candidate(one, shape, levanter)
            stack.callback(worker.close)
            workers.append(worker)
        for worker in workers:
            began = time.perf_counter()
            worker.step(count=False)
            progress(f"{name}: {worker.name} is compiled after {time.perf_counter() - began:.0f} s")
        for number in range(rounds):
            for worker in workers:
                worker.turn()
            progress(f"{name}: round {number + 1} of {rounds}")
    tokens = shape.batch * shape.seq_len
    print(f"\n{name}: {shape}, float32, {rounds} rounds, matrix products at most {peak / 1e9:.0f} GFLOP/s")
    print(f"{'':16}{'ms/step':>10}{'tokens/s':>10}{'MFU':>8}{'peak GiB':>10}")
    for worker in workers:
        median = statistics.median(worker.seconds)
        mfu = shape.training_flops() / median / peak
        print(
            f"{worker.name:16}{median * 1e3:10.0f}{tokens / median:10.0f}{mfu:8.1%}{worker.last['peak'] / 2**30:10.2f}"
        )
    peers = workers[1:]
    if peers:
        fastest = min(peers, key=lambda worker: statistics.median(worker.seconds))
        ratios = [theirs / ours for ours, theirs in zip(workers[0].seconds, fastest.seconds, strict=True)]
        print(
            f"{workers[0].name} / {fastest.name}: {statistics.median(ratios):.2f} × "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def progress(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--candidates", default=",".join(CANDIDATES), help="comma-separated, lateen first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--levanter", type=Path, metavar="PYTHON", help="of an environment that has Levanter")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], Shape(**json.loads(options.work[1])))
        return
    print(machine())
    peak = matmul_peak()
    for name in SHAPES if options.shape == "all" else [options.shape]:
        compare(name, SHAPES[name], options.candidates.split(","), options.rounds, peak, options.levanter)


if __name__ == "__main__":
    main()
