"""Jobs for tests."""

from lateen_api.load import parse_job
from lateen_api.spec import LMTrainingJob

NANO = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: nano}
spec:
  model: {hiddenDim: 128, numHeads: 4, numLayers: 4, seqLen: 256}
  data: {trainUrls: [corpus.txt], tokenizer: bytes}
  trainer: {trainBatchSize: 32}
"""

SMALL = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: small}
spec:
  data: {trainUrls: [corpus.txt], tokenizer: gpt2}
  trainer: {numTrainSteps: 100000, mp: "p=f32,c=bfloat16"}
"""


def nano(*overrides: str) -> LMTrainingJob:
    """A model of 859,008 parameters on CPU hosts, with some fields set otherwise."""
    return parse_job(NANO, "nano.yaml", overrides)


def small(*overrides: str) -> LMTrainingJob:
    """GPT-2 small, with some fields set otherwise."""
    return parse_job(SMALL, "small.yaml", overrides)
