import subprocess
import sys

import pytest

from hapens_bench.tracking.sink import SafeSinks


class Recorder:
    """Records its calls, and raises at the given ones."""

    def __init__(self, *broken):
        self.broken, self.calls = broken, []

    def _note(self, name):
        self.calls.append(name)
        if name in self.broken:
            raise RuntimeError("the server is down")

    def start(self, run):
        self._note("start")

    def log(self, stage, epoch, row):
        self._note("log")

    def finish(self, summary):
        self._note("finish")

    def fail(self, reason):
        self._note("fail")


@pytest.mark.parametrize("broken", [("log",), ("log", "fail")])
def test_a_sink_that_throws_costs_a_warning_only(caplog, broken):
    bad, good = Recorder(*broken), Recorder()
    sinks = SafeSinks([bad, good])
    sinks.start(None)
    sinks.log("full", 0, {})
    sinks.log("full", 1, {})
    sinks.finish({})
    assert bad.calls == ["start", "log", "fail"], "it is closed once, then left alone"
    assert good.calls == ["start", "log", "log", "finish"]
    assert caplog.messages == [
        "Recorder failed and is left out from here on: RuntimeError: the server is down"
    ]


def test_the_trials_of_a_pack_that_lose_a_tracker_for_the_same_reason_say_so_once(caplog):
    for bad in (Recorder("start"), Recorder("start")):
        SafeSinks([bad]).start(None)
        assert bad.calls == ["start", "fail"]
    assert len(caplog.messages) == 1


def test_logger_none_imports_no_tracker(tmp_path):
    overrides = ["dataset.users=50", "trainer.batch_size=64", f"paths.runs={tmp_path}"]
    code = (
        "import sys; from hapens_bench.cli.train import train; "
        f"rc = train({['debug=fast', *overrides]}); "
        "assert rc == 0, rc; assert not {'wandb', 'trackio'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
