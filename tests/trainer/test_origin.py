"""Checkpoints of a run that had other bits are not gone on from, and the refusal says what to set."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from lateen_api.spec import DataSpec, WeightStage
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.errors import UserError
from lateen_trainer.origin import check_origin, origin_of

WHAT = "a checkpoint of step 40 (gs://runs/nano/step-00000040) that was trained"
ORIGIN = {"data": "b2", "seed": 0, "batch": 64, "lanes": 16}


@pytest.mark.parametrize(
    ("name", "before", "remedy"),
    [
        ("lanes", 64, "with spec.trainer.lanes 64, and now it is 16: expected .*Set spec.trainer.lanes to 64, or name"),
        ("seed", 7, "with spec.trainer.seed 7, and now it is 0: expected .*Set spec.trainer.seed to 7, or name"),
        ("batch", 8, "spec.trainer.trainBatchSize 8, .*Set spec.trainer.trainBatchSize to 8, or name"),
        ("data", "a1", "on other training data than now. Expected the same, .* Put back what was changed, or name"),
    ],
)
def test_another_origin_is_refused(name: str, before: str | int, remedy: str):
    with pytest.raises(UserError, match=remedy) as refused:
        check_origin(WHAT, {**ORIGIN, name: before}, ORIGIN, None)
    assert str(refused.value).startswith(f"spec.checkpoint.path has {WHAT} ")


def test_the_same_origin_and_one_that_says_less_are_taken():
    check_origin(WHAT, ORIGIN, ORIGIN, None)
    check_origin(WHAT, {}, ORIGIN, None)


class TestOtherData:
    """What the message says of a run over two files whose data was changed since."""

    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        for name in ("a.txt", "b.txt"):
            (tmp_path / name).write_text(name * 50)

    def cache(self, *names: str):
        spec = DataSpec(train_urls=[str(self.folder / name) for name in names])
        return open_or_build_cache(
            spec, "train", ByteTokenizer(), str(self.folder / "cache"), is_builder=True, progress=print
        )

    def refusal(self, before, now) -> str:
        return self.refusal_of(self.origin(before), now)

    def refusal_of(self, before: dict[str, Any], now) -> str:
        with pytest.raises(UserError) as refused:
            check_origin(WHAT, before, self.origin(now), now)
        return str(refused.value)

    def origin(self, cache) -> dict[str, Any]:
        return origin_of({"": cache}, seed=0, batch=8, lanes=None)

    def test_a_file_that_changed_is_named(self):
        before = self.cache("a.txt", "b.txt")
        (self.folder / "b.txt").write_text("something else")
        said = self.refusal(before, self.cache("a.txt", "b.txt"))
        assert f"on other training data than now: {self.folder}/b.txt changed. Expected the same, or " in said

    def test_files_that_come_and_go_are_named(self):
        (self.folder / "c.txt").write_text("c" * 99)
        before, now = self.cache("a.txt", "b.txt"), self.cache("b.txt", "c.txt")
        assert f"now: {self.folder}/a.txt is no longer read; {self.folder}/c.txt is new. " in self.refusal(before, now)

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("gpt2", "the tokenizer was 'gpt2' and is 'bytes'"),
            ("bytes", "the files of the tokenizer 'bytes' changed"),
        ],
    )
    def test_another_tokenizer_is_named(self, name: str, says: str):
        before, now = self.cache("a.txt"), self.cache("b.txt")
        origin = self.origin(before)
        origin["tokensFrom"]["tokenizer"] = {"name": name, "fingerprint": "another"}
        assert f"on other training data than now: {says}. Expected the same" in self.refusal_of(origin, now)

    def test_the_same_tokens_of_files_that_were_written_again_are_taken(self):
        before = self.cache("a.txt")
        (self.folder / "a.txt").touch()
        now = self.cache("a.txt")
        assert before.fingerprint != now.fingerprint
        check_origin(WHAT, self.origin(before), self.origin(now), now)

    def test_a_checkpoint_of_a_version_that_knew_the_digest_alone_is_taken_where_the_tokens_are_the_same(self):
        cache = self.cache("a.txt")
        old = {name: value for name, value in self.origin(cache).items() if name not in ("sources", "window")}
        check_origin(WHAT, old, self.origin(cache), cache)
        assert "in another order" in self.refusal_of({**old, "data": "of the tokens in another order"}, cache)

    def test_another_window_is_refused(self):
        cache = self.cache("a.txt")
        now = origin_of({"": cache}, seed=0, batch=8, lanes=None, window=64)
        with pytest.raises(
            UserError, match=r"with spec\.data\.shuffle\.window None, and now it is 64.* Remove spec\.data"
        ):
            check_origin(WHAT, self.origin(cache), now, cache)

    def test_another_packing_and_other_weights_are_refused(self):
        cache = self.cache("a.txt")
        packed = origin_of({"": cache}, seed=0, batch=8, lanes=None, packing="documents")
        older = {name: value for name, value in self.origin(cache).items() if name not in ("packing", "weights")}
        for before in (self.origin(cache), older):
            with pytest.raises(
                UserError, match=r"packing 'concatenate', and now it is 'documents'.* Set spec\.data\.pack"
            ):
                check_origin(WHAT, before, packed, cache)
        first, second = (
            origin_of(
                {"web": cache}, seed=0, batch=8, lanes=None, weights=[WeightStage(step=0, weights={"web": weight})]
            )
            for weight in (1.0, 2.0)
        )
        with pytest.raises(UserError, match=r"with spec\.data\.trainWeights \[\[0, \{'web': 1\.0\}\]\], and now it is"):
            check_origin(WHAT, first, second, cache)

    def test_what_cannot_be_known_is_not_invented(self):
        before = self.cache("a.txt")
        shutil.rmtree(before.url)
        said = self.refusal(before, self.cache("b.txt"))
        assert "their digest is another one, and the tokens of before are no longer in spec.data.cacheDir." in said
