"""The examples that a newcomer runs first."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nano_learns_python(lateen_run):
    """Three minutes on two cores: that the first thing a user sees is true."""
    run = lateen_run(job=EXAMPLES / "nano.yaml", name="nano")

    assert run.finish(seconds=800) == 0, run.output

    result = run.result()
    assert result["validationLoss"] < 2.2
    assert result["unigramEntropy"] == pytest.approx(3.07, abs=0.3)
    assert result["attemptCount"] == 1
    assert f"validation loss: {result['validationLoss']:.4f}" in run.output
    assert "unigram entropy" in run.output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nano_llama_learns_python(lateen_run):
    """Four minutes on two cores: that a family other than the first goes all the way, from its file to its sample."""
    run = lateen_run(job=EXAMPLES / "nano-llama.yaml", name="nano-llama")

    assert run.finish(seconds=800) == 0, run.output

    assert run.result()["validationLoss"] < 1.7
