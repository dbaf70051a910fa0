"""Threads: the caller's settings stay as they are, and the number of threads changes no result."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from vae_se import Enhancer
from vae_se.blocks import blockwise, threadwise
from vae_se.errors import UsageError
from vae_se.threads import available, dividing_work, each

QUICK = {"inference__iterations": 3, "inference__averaging": 2}


def torch_threads_of_a_new_thread() -> int:
    """The number of threads that torch takes over in a thread that has not used it yet."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def three_threads():
    """Torch set to three threads, as a user may have it."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_only_the_calling_thread_is_limited_and_only_meanwhile(three_threads):
    asked, answered, found = threading.Event(), threading.Event(), []

    def other():  # a thread of the user that has used torch before
        found.append(torch.get_num_threads())
        answered.set()
        asked.wait(30)
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    thread.start()
    answered.wait(30)
    with dividing_work():
        assert torch.get_num_threads() == 1
        assert available() == 3
        assert torch_threads_of_a_new_thread() == 3
        asked.set()
        thread.join()
    assert found == [3, 3]
    assert torch.get_num_threads() == torch_threads_of_a_new_thread() == 3
    assert available() == 1


def test_the_setting_is_restored_after_an_error(three_threads):
    with pytest.raises(KeyError), dividing_work(2):
        raise KeyError
    assert torch.get_num_threads() == torch_threads_of_a_new_thread() == 3


def test_enhancing_leaves_the_callers_setting(three_threads, tiny_prior, make_noisy):
    seen = []
    enhancer = Enhancer.from_pretrained(tiny_prior, **QUICK)
    noisy = make_noisy(0.5).astype(np.float32)
    enhancer.enhance(noisy, 16000, progress=lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen) == {1}
    assert torch.get_num_threads() == torch_threads_of_a_new_thread() == 3


def test_helpers_compute_with_one_thread_each(three_threads):
    meet = threading.Barrier(2, timeout=30)  # both items at once, in two threads

    def observe(_: int) -> tuple[int, int]:
        meet.wait()
        return torch.get_num_threads(), threading.get_ident()

    with dividing_work(2):
        (here, first), (there, second) = each(observe, range(2))
    assert here == there == 1
    assert first != second
    assert torch_threads_of_a_new_thread() == 3


def test_the_number_of_threads_changes_no_bit(make_noisy):
    noisy = make_noisy(6.0).astype(np.float32)
    one, two, five = (Enhancer.from_pretrained(threads=n, **QUICK).enhance(noisy, 16000) for n in (1, 2, 5))
    assert np.array_equal(one, two)
    assert np.array_equal(one, five)


def test_two_users_at_once(three_threads, tiny_prior, make_noisy):
    enhancer = Enhancer.from_pretrained(tiny_prior, threads=2, **QUICK)
    noisy = [make_noisy(1.0, seed=seed).astype(np.float32) for seed in range(4)]
    alone = [enhancer.enhance(one, 16000) for one in noisy]
    together: dict[int, np.ndarray] = {}
    users = [
        threading.Thread(target=lambda n: together.update({n: enhancer.enhance(noisy[n], 16000)}), args=(n,))
        for n in range(len(noisy))
    ]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert all(np.array_equal(alone[n], together[n]) for n in range(len(noisy)))
    assert torch.get_num_threads() == torch_threads_of_a_new_thread() == 3


def test_a_helpers_error_is_raised():
    def fail(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError

    with dividing_work(3), pytest.raises(ZeroDivisionError):
        each(fail, range(6))


@pytest.mark.parametrize("divide", [blockwise, threadwise])
@pytest.mark.parametrize("frames", [1, 7, 1000])
def test_parts_are_joined_in_order(divide, frames):
    values = torch.arange(2 * frames * 513.0).view(1, 2, frames, 513)
    with dividing_work(4):
        doubled, total = divide(lambda part: (2 * values[:, :, part], values[:, :, part].sum(-1)), values)
    assert torch.equal(doubled, 2 * values)
    assert torch.equal(total, values.sum(-1))


def test_no_threads_is_an_error():
    with pytest.raises(UsageError, match="0 threads"):
        Enhancer.from_pretrained(method="log-mmse", threads=0)
