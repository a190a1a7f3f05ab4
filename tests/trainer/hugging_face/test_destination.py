"""Whether a destination can be written to is known before there is anything to write."""

from pathlib import Path

import pytest
from lateen_api.spec import ExportSpec
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.exports import check_destination

FIELD = "spec.export.huggingFace"


def test_what_is_written_to_try_a_destination_is_gone_afterwards(tmp_path: Path):
    destination = Destination(str(tmp_path / "out" / "model"), field=FIELD)

    destination.check_writable()

    assert (tmp_path / "out" / "model").is_dir()
    assert destination.names() == []


def test_a_destination_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "model").write_text("a file")

    with pytest.raises(UserError, match=rf"^{FIELD} is '{tmp_path}/model/out': a part of it is a file: expected"):
        Destination(str(tmp_path / "model" / "out"), field=FIELD).check_writable()


def test_a_relative_destination_is_below_the_folder_of_the_run_and_none_is_no_error(tmp_path: Path):
    check_destination(ExportSpec(hugging_face="hf"), tmp_path)
    check_destination(ExportSpec(), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["hf"]
