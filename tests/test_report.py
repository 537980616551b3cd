"""The report is one page that needs nothing else."""

import re

import pytest

from sophia_ref import report


def test_text_in_a_page_is_text_and_not_markup(tmp_path):
    path = tmp_path / "report.html"
    rows = [["<script>", 1]]
    report.write_page(
        path,
        "a < b",
        [report.html_table(["h&m", "n"], rows), report.preformatted("<b>"), report.paragraph("x<y", "soft")],
    )
    page = path.read_text(encoding="utf-8")
    assert "<script>" not in page
    for escaped in ("a &lt; b", "&lt;script&gt;", "h&amp;m", "<pre>&lt;b&gt;</pre>", '<p class="soft">x&lt;y</p>'):
        assert escaped in page


def test_pictures_are_inside_the_page(tmp_path):
    light, dark = tmp_path / "a.png", tmp_path / "b.png"
    light.write_bytes(b"light")
    dark.write_bytes(b"dark")
    block = report.figure(light, 'a "quoted" picture', "caption", dark=dark)
    assert 'src="data:image/png;base64,bGlnaHQ="' in block
    assert 'srcset="data:image/png;base64,ZGFyaw==" media="(prefers-color-scheme: dark)"' in block
    assert 'alt="a &quot;quoted&quot; picture"' in block
    assert "<source" not in report.figure(light, "", "")


def test_a_page_loads_nothing_from_elsewhere(tmp_path):
    report.write_page(tmp_path / "x.html", "t", [report.paragraph("hello")])
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=|@import|url\(|https?:", page)


@pytest.mark.parametrize("rows", [[], [["a", 1], ["longer than its head", 2.5]]])
def test_columns_of_a_text_table_are_aligned(rows):
    lines = report.text_table(["name", "loss"], rows).splitlines()
    assert len(lines) == 1 + len(rows)
    if rows:
        assert lines[0].index("loss") == lines[1].index("1") == lines[2].index("2.5")
    assert all(line == line.rstrip() for line in lines)
