"""Whole runs on a mixture of packed documents: what is reported, and the same losses after a stop."""

import json
import shutil

import pytest
from lateen_api.load import apply_overrides
from lateen_api.spec import LMTrainingJob
from lateen_trainer.data.job_data import mixture_of
from small_runs import SmallRuns

pytestmark = pytest.mark.slow


def test_a_run_on_a_mixture_goes_on_behind_a_stage_as_if_it_had_not_been_stopped(tmp_path):
    runs = SmallRuns(tmp_path, seq_len=16, batch_size=16, steps=9)
    for name, word in (("squares", "times"), ("sums", "plus")):
        records = [json.dumps({"text": f"{n} {word} {n}"[: 4 + n % 11]}) for n in range(900)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(records))
    sources = ", ".join(
        f"{name}: {{trainUrls: [{tmp_path}/{name}.jsonl], validationUrls: [{tmp_path}/{name}.jsonl]}}"
        for name in ("squares", "sums")
    )
    options = (
        f"data={{tokenizer: bytes, cacheDir: {runs.cache}, configs: {{{sources}}}, packing: documents, "
        "trainWeightStages: [{step: 0, weights: {squares: 1}}, {step: 5, weights: {squares: 1, sums: 3}}]}",
        "trainer.stepsPerEval=4", "trainer.maxEvalBatches=2", "checkpoint.keep=[{every: 4}]",
    )  # fmt: skip
    runs.run("undisturbed", *options)

    resumed = tmp_path / "resumed"
    shutil.copytree(tmp_path / "undisturbed", resumed)
    for folder in (resumed / "checkpoints").glob("step-*"):
        if int(folder.name.rpartition("-")[2]) > 4:
            shutil.rmtree(folder)
    runs.run("resumed", *options)

    assert runs.losses("resumed") == runs.losses("undisturbed")
    assert len(runs.losses("resumed")) == 9
    counted = [count for _, count in runs.lines("resumed", "counted_tokens")]
    assert all(100 < count < 16 * 16 for count in counted), "ends of documents are no targets"
    overall = dict(runs.lines("resumed", "validation_loss"))
    for step, loss in overall.items():
        parts = [dict(runs.lines("resumed", f"validation/{name}"))[step] for name in ("squares", "sums")]
        assert min(parts) < loss < max(parts)
    job = LMTrainingJob.model_validate(apply_overrides(runs.job, options))
    assert mixture_of(job.spec).counts(5 * 16) == {"squares": 80, "sums": 0}
