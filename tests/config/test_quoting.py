"""Values in the grammar of Hydra's overrides."""

from hapens_bench.config.compose import compose_config
from hapens_bench.config.quoting import hydra_value


def test_values_are_written_so_that_hydra_reads_them_back():
    values = [
        None,
        True,
        False,
        3,
        -2.5,
        1e-07,
        "word",
        "true",
        "null",
        "1e3",
        "",
        " a b ",
        "it's",
        "\\'",
        "end\\",
        "a,b:{c}",
        "$x=y",
    ]
    values += [[1, "x y", [None]], {"a": 1, "b": {"c": "d e"}}, [], {}]
    for value in values:
        assert compose_config([f"+probe={hydra_value(value)}"])["probe"] == value
