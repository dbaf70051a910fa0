"""Work spread over processes and machines, and no file lost when one of them dies. Does without torch.

A *task* is a short sequence of items that are done together. ``make()`` is called once in every worker and
returns its *handle*, a function from the items of a task to one result an item. An :class:`Executor` gives
tasks to handles, wherever they are, and yields ``(number of the task, results)`` as they come.
"""

from .base import Died, Executor, Handle, Make, Tasks
from .choose import EXECUTORS, choose
from .pool import Pool
from .shard import Shard

__all__ = ["EXECUTORS", "Died", "Executor", "Handle", "Make", "Pool", "Shard", "Tasks", "choose"]
