"""The images of a study, looked at before it runs."""

from tests.study.commands.calls import invoke
from tests.study.tiny import write_tiny


def test_data_preview_writes_a_picture_of_each_image_set(tmp_path):
    invoke("data", "preview", write_tiny(tmp_path), "--out", tmp_path / "preview")
    assert {path.name for path in (tmp_path / "preview").iterdir()} == {"wbc.png", "prcc.png", "cam16.png"}
