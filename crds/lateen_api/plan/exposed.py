"""Warnings of secrets that stand in the job itself, where anyone who may read the job reads them."""

from lateen_api.masking import has_secret, is_secret, masked
from lateen_api.spec import JobSpec
from lateen_api.wording import listing


def exposed_secrets(spec: JobSpec) -> list[str]:
    """A warning for variables, and one for each URL."""
    names = [name for name, value in spec.compute.env.items() if is_secret(name, value) or has_secret(value)]
    warnings = []
    if names:
        warnings.append(
            f"spec.compute.env holds {listing(names, 'and')} in the clear, for anyone who may read the job. Put it "
            "into a Secret and name that in spec.compute.secrets; for `lateen run`, export it in the shell."
        )
    for field, urls in (("trainUrls", spec.data.train_urls), ("validationUrls", spec.data.validation_urls)):
        warnings += [
            f"spec.data.{field}[{number}] holds a password or signature in the clear, for anyone who may read the job "
            f"({masked(url)}). Name a bucket (gs://, s3://) whose credentials spec.compute.secrets brings in."
            for number, url in enumerate(urls)
            if has_secret(url)
        ]
    return warnings
