"""Plot of the model's error against ε for each privacy mechanism (`pip install "fedbus[plot]"`)."""

import io

from fedbus.cli.output.privacy_plan import Curves


def draw_plan(suffix: str, title: str, curves: Curves) -> bytes:
    """Draw a line for each mechanism on logarithmic axes.

    `suffix` is one of `fedbus.data.partition.plot.SUFFIXES`; return the content of such a file.
    The same curves make the same bytes.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, points in curves.items():
        axes.loglog(*zip(*points, strict=True), label=name, marker=".")
    axes.set_title(title)
    axes.set_xlabel("ε")
    axes.set_ylabel("error of the model's path / clipping norm")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "fedbus"}):
        figure.savefig(content, format=suffix[1:], dpi=120, metadata=undated.get(suffix))
    return content.getvalue()
