"""What the page of claims says of runs on a GPU."""

import pytest

from sophia_ref.claims import gpu
from sophia_ref.claims.conduct import render
from sophia_ref.claims.runs import FolderError


def test_without_a_run_the_page_says_which_command_makes_one(tmp_path):
    (tmp_path / "claims").mkdir()
    page = render(tmp_path / "claims").read_text()
    assert gpu.TITLE in page
    assert (
        "as no GPU was to be had; on one, `python benchmarks/gpu_claims.py --text FILE --output FOLDER` makes it"
        in page
    )


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"machine": "x"}'])
def test_a_file_of_something_else_is_named(tmp_path, content):
    (tmp_path / "gpu.json").write_text(content)
    with pytest.raises(FolderError, match=r"gpu\.json: not what gpu_claims\.py leaves .*; remove the file"):
        gpu.section(tmp_path)
