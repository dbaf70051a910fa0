"""Work in several processes and on several machines, robust against workers that die. Does not import torch.

A *task* is a short sequence of items that are processed together. ``make()`` is called once in every worker and
returns its *handle*, a function from the items of a task to one result per item. An :class:`Executor`
distributes tasks to workers and yields ``(number of the task, results)`` in the order of completion.
"""

from .base import Died, Executor, Handle, Make, Tasks
from .choose import EXECUTORS, choose
from .pool import Pool
from .shard import Shard

__all__ = ["EXECUTORS", "Died", "Executor", "Handle", "Make", "Pool", "Shard", "Tasks", "choose"]
