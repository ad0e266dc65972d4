"""Lines on logarithmic axes, drawn with letters."""

from fedbus.cli.output.log_plot import HEIGHT, WIDTH, draw_log_plot


def test_a_line_is_drawn_from_corner_to_corner() -> None:
    """One decade in each direction, with the labels at 1, 2, 5 and 10."""
    drawn = draw_log_plot({"falling": [(1, 10), (10, 1)]}, "x", "y").splitlines()
    assert drawn[0].strip() == "y"
    body = [line.partition("|")[2] for line in drawn[1 : HEIGHT + 1]]
    assert body[0].startswith("A")
    assert body[-1].endswith("A")
    assert len(body[-1]) == WIDTH
    assert all("A" in line for line in body)
    labels = [line.partition("|")[0].strip() for line in drawn[1 : HEIGHT + 1]]
    assert [label for label in labels if label] == ["10", "5", "2", "1"]
    assert drawn[-3].split() == ["1", "2", "5", "10"]
    assert [line.strip() for line in drawn[-2:]] == ["x", "A falling"]


def test_each_line_has_its_letter() -> None:
    """And one without points is left out."""
    lines = {"one": [(1.0, 1.0), (2.0, 2.0)], "none": [], "two": [(1.0, 2.0), (2.0, 1.0)]}
    drawn = draw_log_plot(lines, "x", "y")
    assert drawn.splitlines()[-1].strip() == "A one, B two"


def test_nothing_is_drawn_of_nothing() -> None:
    """No line, or one point only: neither divides by zero."""
    assert draw_log_plot({"none": []}, "x", "y") == ""
    assert "A" in draw_log_plot({"point": [(3, 3)]}, "x", "y")


def test_labels_do_not_overlap() -> None:
    """Over many decades only those labels are drawn that have room."""
    drawn = draw_log_plot({"wide": [(1e-6, 1), (1e6, 2)]}, "x", "y").splitlines()
    assert len(drawn[-3].split()) < 37
    assert drawn[-3].split() == sorted(drawn[-3].split(), key=float)
