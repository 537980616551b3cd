"""The picture of a profile: bars as long as the times, floors within them."""

import pytest

from sophia_ref.plots import figure
from sophia_ref.plots.profile import COLORS, PALE, profile_bars, profile_figure
from sophia_ref.profile import Part, Profile


@pytest.fixture
def known():
    parts = [
        Part("linear", "forward", 0.004, flops=1_000_000),
        Part("linear", "backward", 0.005, flops=10_000_000),  # faster than its floor
        Part("tape", "", 0.002),
    ]
    return Profile(parts, 0.012, flop_rate=1e9, byte_rate=1e9)


def test_bars_are_as_long_as_the_times_and_show_the_floors(known):
    ax = profile_bars(figure(6, 3).subplots(), known)
    floors, rest = ax.patches[::2], ax.patches[1::2]  # of forward, backward, tape
    assert [bar.get_x() for bar in floors] == pytest.approx([0, 4, 0])
    assert [bar.get_width() for bar in floors] == pytest.approx([1, 5, 0])
    assert [bar.get_x() for bar in rest] == pytest.approx([1, 9, 0])
    assert [bar.get_width() for bar in rest] == pytest.approx([3, 0, 2])
    assert [bar.get_y() for bar in floors] == [bar.get_y() for bar in rest] == pytest.approx([-0.4, -0.4, 0.6])
    assert {bar.get_alpha() for bar in floors} == {None}
    assert {bar.get_alpha() for bar in rest} == {PALE}
    assert [text.get_text() for text in ax.texts] == ["9.00 ms, floor 122%", "2.00 ms"]


def test_the_figure_is_as_high_as_it_has_bars_and_explains_its_colours(known):
    fig = profile_figure(known, "a step")
    more = known._replace(parts=[part._replace(name=f"{part.name} {i}") for i in range(3) for part in known.parts])
    assert profile_figure(more, "a step").get_figheight() > fig.get_figheight()
    (ax,) = fig.axes
    assert ax.get_title() == "a step"
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["forward", "backward", "other", "above the floor"]
    assert len({bar.get_facecolor()[:3] for bar in ax.patches}) == len(COLORS)
