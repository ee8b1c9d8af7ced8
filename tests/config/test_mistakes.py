"""Mistakes in a config fail before training, in one sentence."""

import pytest

from hapens_bench.config.paths import lacks_tuned_file
from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from tests.conftest import make_config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.lr=0", "trainer.lr is 0, but it takes a number above 0"),
        ("trainer.lr=-1", "trainer.lr is -1, but it takes a number above 0"),
        ("trainer.lr=fast", "trainer.lr is 'fast', but it takes a number above 0"),
        ("trainer.l2=nan", "trainer.l2 is nan, but it takes a number at least 0"),
        ("trainer.epochs=1.5", "trainer.epochs is 1.5, but it takes a whole number at least 1"),
        ("trainer.drop_last=2", "trainer.drop_last is 2, but it takes true or false"),
        (
            "trainer.patience=0",
            "trainer.patience is 0, but it takes a whole number at least 1 or null",
        ),
        ("model.D=0", "model.D is 0, but it takes a whole number at least 1"),
        ("seed=-1", "seed is -1, but it takes a whole number at least 0"),
        ("resume=maybe", "resume is 'maybe', but it takes one of auto, force, never"),
        ("protocol.selection=[best]", "test_peak, valid, valid_refit"),
        ("protocol.selection=[]", "test_peak, valid, valid_refit"),
        (
            "protocol.monitor=AUC",
            "protocol.monitor is 'AUC', but it must stand in protocol.metrics",
        ),
        ("protocol.metrics=[Recall@20,Foo@3]", "there is no metric 'Foo@3'"),
        (
            "protocol.ranking=some",
            "protocol.ranking is 'some', but it takes one of full, candidates",
        ),
        (
            "protocol.ranking=candidates",
            "one held-out item a user: protocol.split.kind=leave_one_out",
        ),
        (
            "protocol.metrics=[Recall@20,full/Recall@20]",
            "protocol.metrics names full/..., but protocol.ranking=full",
        ),
        ("protocol.metrics=[Recall@20,half/Recall@20]", "there is no metric 'half/Recall@20'"),
        ("+sampler.foo=1", "there is no key sampler.foo; sampler takes no keys"),
        ("sampler._target_=nowhere.Sampler", "cannot import 'nowhere.Sampler'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(override, message):
    with pytest.raises(UserError) as caught:
        check(make_config(override))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_candidate_ranking_needs_its_lists_and_a_metric_of_its_own():
    with pytest.raises(UserError, match=r"needs protocol\.candidates; take protocol=gdns"):
        check(make_config("protocol.ranking=candidates", "protocol.split.kind=leave_one_out"))
    with pytest.raises(UserError, match=r"nothing but full/\.\.\.; take protocol\.ranking=full"):
        check(
            make_config(
                "protocol=gdns", "protocol.metrics=[full/NDCG@3]", "protocol.monitor=full/NDCG@3"
            )
        )
    check(make_config("protocol=gdns", "protocol.monitor=full/NDCG@20"))


def test_samplers_of_user_groups_go_with_losses_over_users_only():
    with pytest.raises(
        UserError, match="sampler=enmf works on user groups, but loss=bpr on interactions"
    ):
        check(make_config("sampler=enmf", "loss=bpr"))
    with pytest.raises(
        UserError, match="sampler=rns works on interactions, but loss=whole_data on user groups"
    ):
        check(make_config("loss=whole_data"))


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UserError, match=r"seed is -3.*trainer\.lr.*model\.D"):
        check(make_config("seed=-3", "trainer.lr=0", "model.D=0"))


def test_a_setting_that_was_never_tuned_is_refused_not_run_untuned():
    tuned = make_config("dataset=tools", "sampler=dns", "tuned=equal")
    assert lacks_tuned_file(tuned) is None and tuned["trainer"]["l2"] > 0.01
    check(tuned)
    with pytest.raises(
        UserError, match=r"tuned=equal needs conf/tuned/equal/planted-mf-dns\.yaml: tune first"
    ):
        check(make_config("dataset=planted", "sampler=dns", "tuned=equal"))
    check(make_config("dataset=planted", "sampler=dns", "tuned=paper"))
