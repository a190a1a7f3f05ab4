"""What a checkpoint says of those who made it."""

import jax
import jaxlib.version
from crds.jobs import nano
from lateen_api.plan import make_plan
from lateen_trainer.checkpoint.made_by import changes, made_by


def test_versions_device_and_what_the_plan_says_are_named():
    now = made_by(make_plan(nano("trainer.mp=f32", "compute.cpu=3"), vocab_size=257))
    assert (now["jax"], now["jaxlib"]) == (jax.__version__, jaxlib.version.__version__)
    assert now["device"].split()[0] in ("x86_64", "aarch64")
    assert (now["computeType"], now["modelAxisSize"], now["cpuThreads"]) == ("float32", "1", "3")


def test_flags_that_xla_reads_by_itself_are_named(monkeypatch):
    plan = make_plan(nano("trainer.mp=f32"), vocab_size=257)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    before = made_by(plan)
    monkeypatch.setenv("XLA_FLAGS", "--xla_b=2  --xla_a=1")
    assert changes(before, made_by(plan)) == ["xlaFlags none then, --xla_a=1 --xla_b=2 now"]
    assert changes(made_by(plan), before) == ["xlaFlags --xla_a=1 --xla_b=2 then, none now"]


def test_what_changed_is_told_and_nothing_else():
    before = {"jax": "0.10.2", "jaxlib": "0.10.2", "device": "x86_64 avx512f"}
    now = {"jax": "0.10.2", "jaxlib": "0.10.3", "device": "x86_64 avx2"}
    assert changes(before, now) == ["jaxlib 0.10.2 then, 0.10.3 now", "device x86_64 avx512f then, x86_64 avx2 now"]
    assert changes({}, now) == []
