from lateen_api.load import parse_job
from lateen_api.plan import make_plan

JOB = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: nano}
spec:
  data: {trainUrls: [a.txt], tokenizer: bytes}
"""


def warnings(*overrides: str) -> list[str]:
    return [text for text in make_plan(parse_job(JOB, "job.yaml", overrides)).warnings if "in the clear" in text]


def test_a_plan_warns_of_secrets_in_variables():
    assert warnings("compute.env={HF_TOKEN: abc, PROXY: 'http://me:pw@proxy', DEBUG: '1'}") == [
        "spec.compute.env holds HF_TOKEN and PROXY in the clear, for anyone who may read the job. Put it into a Secret "
        "and name that in spec.compute.secrets; for `lateen run`, export it in the shell."
    ]


def test_a_plan_warns_of_secrets_in_urls_and_does_not_show_them():
    assert warnings("data.trainUrls=['http://h/b?download=1', 'http://me:pw@h/a?sig=abc']") == [
        "spec.data.trainUrls[1] holds a password or signature in the clear, for anyone who may read the job "
        "(http://***@h/a?sig=***). Name a bucket (gs://, s3://) whose credentials spec.compute.secrets brings in."
    ]


def test_a_job_without_secrets_gets_no_warning():
    assert warnings("compute.secrets=[wandb]", "compute.env={TOKENIZERS_PARALLELISM: 'true'}") == []
