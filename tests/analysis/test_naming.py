"""Settings are named by the keys in which they differ, and by no others."""

from hapens_bench.analysis.labels import differing, names, values


def config(M, trained, seed=0):
    parts = {
        "dataset": {"users": 3},
        "protocol": {"name": "p"},
        "model": {"name": "m", "lr": M},
        "loss": {"name": "l"},
    }
    return parts | {"sampler": {"name": "s"}, "trainer": {"lr": trained}, "seed": seed}


def named(*configs):
    found = [values(one) for one in configs]
    return names(found, differing(found))


def test_keys_of_the_same_name_are_told_apart():
    assert named(config(1, 0.1), config(2, 0.2)) == [
        "model.lr=1, trainer.lr=0.1",
        "model.lr=2, trainer.lr=0.2",
    ]


def test_seeds_and_equal_numbers_make_no_difference():
    assert named(config(1, 0.1), config(1.0, 0.1, seed=7)) == ["", ""]


def test_numbers_get_as_many_digits_as_tell_them_apart():
    assert named(config(1, 0.12341), config(1, 0.12342)) == ["lr=0.12341", "lr=0.12342"]
    assert named(config(1, 0.12341), config(1, 0.5)) == ["lr=0.123", "lr=0.5"]


def test_the_selections_asked_for_name_a_setting_only_where_nothing_else_does():
    def asked(selection, lr):
        one = config(1, lr)
        return one | {"protocol": {"name": "p", "selection": selection}}

    assert named(asked(["valid"], 0.1), asked(["test_peak"], 0.2)) == ["lr=0.1", "lr=0.2"]
    same = named(asked(["valid"], 0.1), asked(["test_peak"], 0.1), asked(["valid"], 0.2))
    assert same[0] != same[1] and "selection=valid" in same[0] and "selection=test_peak" in same[1]
