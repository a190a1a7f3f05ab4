"""What the API server was asked for, by its own metrics: by everybody who calls it."""

import re
import urllib.request
from collections import Counter

from e2e_cluster.harness.api import Api

_LINE = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)


def requests(api: Api) -> Counter[str]:
    """Requests so far, by verb and resource."""
    headers = {"Authorization": api.token} if api.token else {}
    request = urllib.request.Request(f"{api.url}/metrics", headers=headers)
    with urllib.request.urlopen(request, context=api.tls, timeout=60) as response:
        text = response.read().decode()
    found: Counter[str] = Counter()
    for labels, number in _LINE.findall(text):
        label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        resource = "/".join(filter(None, (label["resource"], label["subresource"])))
        found[f"{label['verb']} {resource}"] += int(float(number))
    return found


def per_job(before: Counter[str], after: Counter[str], jobs: int, least: float = 0.5) -> str:
    """How often each was asked for, for each of so many jobs, most frequent first; seldom ones are left out."""
    rates = {name: number / jobs for name, number in (after - before).items() if number / jobs >= least}
    return ", ".join(f"{name} {rates[name]:.1f}" for name in sorted(rates, key=lambda name: -rates[name]))
