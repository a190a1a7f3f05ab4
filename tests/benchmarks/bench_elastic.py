"""The elastic step beside the fast step that accumulates over the same microbatches, on CPU devices of this machine.

    python tests/benchmarks/bench_elastic.py [--shape nano] [--devices 2] [--rounds 7]

Both candidates are processes of their own that hold a model and make one step when told to. They take turns, each
round in the other order, so that both meet the same machine, and ratios are taken round by round.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import numpy as np
from candidate import Candidate, serve
from lateen_api.environment import HUGE_PAGES
from machine import machine

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A step: a GPT-2, its batch, the devices that share it, and the mode."""

    hidden: int
    heads: int
    layers: int
    seq_len: int
    vocab: int
    batch: int
    lanes: int
    devices: int = 2
    threads: int = 2
    mode: str = "elastic"


SHAPES = {
    "nano": Case(hidden=128, heads=4, layers=4, seq_len=256, vocab=257, batch=32, lanes=16),
    "small": Case(hidden=768, heads=12, layers=12, seq_len=1024, vocab=50257, batch=16, lanes=16),
}


def make_step(case: Case) -> Callable[[], float]:
    """One step on random tokens; it gives the loss."""
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
                "model": {
                    "hiddenDim": case.hidden,
                    "numHeads": case.heads,
                    "numLayers": case.layers,
                    "seqLen": case.seq_len,
                    "gradientCheckpointing": False,
                },
                "data": {"tokenizer": "bytes", "trainUrls": ["none"]},
                "trainer": {
                    "trainBatchSize": case.batch,
                    "perDeviceParallelism": case.batch // case.lanes,
                    "reproducibility": case.mode,
                },
                "compute": {"accelerator": "cpu", "devicesPerHost": case.devices},
            },
        }
    )
    plan = make_plan(job, vocab_size=case.vocab)
    # Both have the same pool of threads: what is compared is the step.
    choose_devices(plan.devices_per_host, max(case.threads, case.devices))
    run = Run.build(job.spec, plan, case.vocab)
    step = make_train_step(run.settings)
    placement = BatchPlacement(run.settings.rules, case.batch, plan.accumulation_steps)
    state = init_state(run.make_model, run.settings.optimizer, run.settings.rules)
    rng = np.random.default_rng(0)

    def train() -> float:
        nonlocal state
        tokens = placement.place(Batch(rng.integers(0, case.vocab, (case.batch, case.seq_len + 1), dtype=np.int32)))
        state, metrics = step(state, tokens)
        return float(jax.block_until_ready((state, metrics))[1]["loss"])

    return train


def candidate(case: Case) -> Candidate:
    """The case as a process."""
    command = [sys.executable, __file__, "--work", json.dumps(asdict(case))]
    return Candidate(case.mode, command, {**HUGE_PAGES, **os.environ, "JAX_PLATFORMS": "cpu"})


def compare(name: str, cases: list[Case], rounds: int, *, apart: bool) -> None:
    """Prints the times of two cases and their ratio, the first to the second.

    Args:
        apart: only one of them is in memory at a time, made again for each turn.
    """
    first, second = _apart(cases, rounds) if apart else _together(cases, rounds)
    ratios = [ours / theirs for ours, theirs in zip(first, second, strict=True)]
    times = " ".join(f"{statistics.median(seconds) * 1e3:10.0f}" for seconds in (first, second))
    print(
        f"{name:28}{times}   {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def _together(cases: list[Case], rounds: int) -> list[list[float]]:
    with contextlib.ExitStack() as stack:
        workers = []
        for case in cases:
            workers.append(candidate(case))
            stack.callback(workers[-1].close)
            workers[-1].step(count=False)  # compile
        for number in range(rounds):
            for worker in _in_turn(workers, number):
                worker.turn()
    return [worker.seconds for worker in workers]


def _apart(cases: list[Case], rounds: int) -> list[list[float]]:
    seconds: list[list[float]] = [[] for _ in cases]
    for number in range(rounds):
        for index in _in_turn(range(len(cases)), number):
            with contextlib.closing(candidate(cases[index])) as worker:
                worker.turn()  # its first step compiles
            seconds[index] += worker.seconds
    return seconds


def _in_turn(those: Sequence[T], number: int) -> Sequence[T]:
    """Each round in the other order."""
    return those if number % 2 == 0 else those[::-1]


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--devices", default="2,8", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="", help="two pool sizes: compare these in the elastic step instead")
    parser.add_argument("--lanes", default="", help="two numbers of lanes: compare these instead")
    parser.add_argument("--apart", action="store_true", help="one at a time: two do not fit in this machine's memory")
    parser.add_argument("--batch", type=int, default=0, help="another batch size than the shape's")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        serve(make_step(Case(**json.loads(options.work))))
        return
    print(machine())
    print(f"{'ms a step, medians':28}{'first':>10} {'second':>10}   first / second, median of {options.rounds} rounds")
    for name in SHAPES if options.shape == "all" else [options.shape]:
        for devices in map(int, options.devices.split(",")):
            batch = options.batch or SHAPES[name].batch
            base = replace(SHAPES[name], devices=devices, batch=batch, lanes=min(SHAPES[name].lanes, batch))
            what, pair = "elastic, fast", [base, replace(base, mode="fast")]
            if options.threads:
                what = f"threads {options.threads}"
                pair = [replace(base, threads=int(threads)) for threads in options.threads.split(",")]
            elif options.lanes:
                what = f"lanes {options.lanes}"
                pair = [replace(base, lanes=int(lanes)) for lanes in options.lanes.split(",")]
            compare(f"{name}, {devices} devices: {what}", pair, options.rounds, apart=options.apart)


if __name__ == "__main__":
    main()
