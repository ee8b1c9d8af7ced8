import json

import pandas as pd
from matplotlib.figure import Figure

from hapens_bench.analysis.result import picture, write_result


def test_every_file_is_named_in_the_provenance_beside_it(tmp_path):
    frame, figure = pd.DataFrame({"x": [1 / 3], "y": ["ä"]}), Figure()
    contents = {".csv": frame, "_more.csv": frame.to_csv(index=False), **picture(figure, "_curve")}
    write_result(tmp_path / "new" / "ml-1m", [], contents)
    note = json.loads((tmp_path / "new" / "ml-1m.provenance.json").read_text())
    endings = (".csv", "_more.csv", "_curve.svg", "_curve.png")
    assert note["files"] == [f"ml-1m{ending}" for ending in endings] and note["runs"] == []
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert written == {*note["files"], "ml-1m.provenance.json"}
    assert (tmp_path / "new" / "ml-1m.csv").read_text(encoding="utf-8") == "x,y\n0.333333,ä\n"
    assert pd.read_csv(tmp_path / "new" / "ml-1m_more.csv")["x"].item() == 1 / 3


def test_the_same_picture_is_written_with_the_same_bytes(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2])
    for name in ("a", "b"):
        write_result(tmp_path / name, [], picture(figure))
    for ending in (".svg", ".png"):
        first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in "ab")
        assert first == second
