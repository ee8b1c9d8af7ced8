"""A machine whose memory holds the step of two trials, not of four.

Each pack runs out of memory in its third epoch.
"""

import importlib.abc
import importlib.util
import sys


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "hapens_bench.training.epoch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            import torch

            train = module.EpochLoop.run

            def limited(self, epoch):
                if epoch >= 2 and self.pack.size > 2:
                    raise torch.OutOfMemoryError("no memory for more than two trials")
                return train(self, epoch)

            module.EpochLoop.run = limited

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
