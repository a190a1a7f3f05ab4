"""How much of a run comes from each source."""

from lateen_api.apportionment import apportion, shares
from lateen_api.plan.result import PlannedSource
from lateen_api.spec import JobSpec


def planned_sources(spec: JobSpec) -> list[PlannedSource]:
    """The sources that give sequences to the run, in the order of `configs`; without a mixture one without a name.

    The sequences of each stage are divided by its weights. Those of the trainer (`lateen_trainer.data.mixture`), which
    permutes them in blocks, are the same where a stage ends with a block, and differ by a part of the last block where
    that is cut off.
    """
    total = spec.trainer.num_train_steps * spec.trainer.train_batch_size
    return [
        PlannedSource(name=name, share=sequences / total, sequences=sequences)
        for name, sequences in _sequences(spec).items()
        if sequences > 0
    ]


def _sequences(spec: JobSpec) -> dict[str, int]:
    steps, batch, data = spec.trainer.num_train_steps, spec.trainer.train_batch_size, spec.data
    names = list(data.sources)
    if not data.configs:
        return dict.fromkeys(names, steps * batch)
    starts = [stage.step for stage in data.weight_stages]
    counts = [0] * len(names)
    for stage, end in zip(data.weight_stages, [*starts[1:], steps], strict=True):
        in_stage = max(0, min(end, steps) - stage.step) * batch
        of_stage = apportion(shares(names, stage.weights), in_stage)
        counts = [a + b for a, b in zip(counts, of_stage, strict=True)]
    return dict(zip(names, counts, strict=True))
