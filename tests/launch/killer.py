"""A tracker that sends its own process a signal after an epoch.

That is what an out-of-memory killer or a scheduler does.
"""

import os
import signal
from pathlib import Path


class Killer:
    def __init__(self, once: str, epoch: int, seed: int, signal: int = signal.SIGKILL) -> None:
        self.once, self.epoch, self.seed, self.signal = Path(once), epoch, seed, signal

    def start(self, run) -> None:
        self.armed = run.config["seed"] == self.seed

    def log(self, stage, epoch, row) -> None:
        if self.armed and epoch == self.epoch and not self.once.exists():
            self.once.touch()
            os.kill(os.getpid(), self.signal)

    def finish(self, summary) -> None: ...

    def fail(self, reason) -> None: ...
