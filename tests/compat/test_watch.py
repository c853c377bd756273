"""Functions that are watched: what the watcher sees, of whatever kind they are, and what the caller never notices."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import sys
from contextvars import ContextVar

import pytest

import moa_middleware as moa
from moa_middleware._capture.config import default_stack
from moa_middleware.compat._watch import Watch


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return the name of a module that is not imported yet, and take it away afterwards."""
    (tmp_path / "watched_by_tests.py").write_text(
        "class Agent:\n    def run(self, task, *, loud=False):\n        return task.upper() if loud else task\n"
        "def fails(task):\n    raise LookupError(task)\n" + ASYNC
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "watched_by_tests"
    sys.modules.pop("watched_by_tests", None)


def test_a_function_is_watched_once_its_module_is_there(module):
    """The generator gets the arguments that it names, and what the function returned."""
    seen = []

    def watch(self, task):
        seen.append((type(self).__name__, task))
        seen.append((yield))

    around = Watch(default_stack, module, "Agent.run", watch)
    agent_class = importlib.import_module(module).Agent
    there = vars(agent_class)["run"]
    assert agent_class().run("a", loud=True) == "A"
    assert seen == [("Agent", "a"), "A"]
    again = Watch(default_stack, module, "Agent.run", watch)
    assert vars(agent_class)["run"] is there
    again.undo()
    around.undo()
    assert agent_class().run("b") == "b"
    assert len(seen) == 2
    assert not hasattr(vars(agent_class)["run"], "__wrapped__")


def test_a_wrapper_that_others_have_wrapped_does_nothing_after_the_end(module):
    """It cannot be taken out from under them."""
    seen = []

    def watch(self):
        seen.append(self)
        yield

    around = Watch(default_stack, module, "Agent.run", watch)
    agent_class = importlib.import_module(module).Agent
    ours = agent_class.run

    def run(self, task):
        return ours(self, task)

    agent_class.run = run
    around.undo()
    assert agent_class().run("a") == "a"
    assert seen == []


def test_what_is_undone_before_its_module_is_there_stays_undone(module):
    """The hook comes, and does nothing; a path that leads nowhere is left alone."""

    def watch():
        yield

    Watch(default_stack, module, "Agent.run", watch).undo()
    elsewhere = [Watch(default_stack, module, path, watch) for path in ("Agent.walk", "Nobody.run", "nothing")]
    found = importlib.import_module(module)
    assert not hasattr(vars(found.Agent)["run"], "__wrapped__")
    for one in elsewhere:
        one.undo()
    assert not hasattr(found, "nothing")


def before(task):
    """Fail before the watched function begins."""
    raise ValueError(task)
    yield


def after(task):
    """Fail after it has ended."""
    yield
    raise ValueError(task)


def test_faults_of_the_watcher_are_its_own(module):
    """Before, after, or where the function raises: counted, and the caller sees what he saw."""

    def twice(task):
        yield
        yield

    def closing(task):
        try:
            yield
        finally:
            raise ValueError(task)

    def unknown(nobody_has_this):
        yield

    found = importlib.import_module(module)
    faults = moa.status().faults
    for count, watch in enumerate((before, after, closing, unknown), 1):
        around = Watch(default_stack, module, "Agent.run", watch)
        assert found.Agent().run("a") == "a"
        around.undo()
        assert moa.status().faults == faults + count
    around = Watch(default_stack, module, "Agent.run", twice)
    assert found.Agent().run("a") == "a"
    around.undo()
    around = Watch(default_stack, module, "fails", closing)
    with pytest.raises(LookupError, match="a"):
        found.fails("a")
    around.undo()
    assert moa.status().faults == faults + 5


def test_arguments_that_do_not_fit_are_the_callers_fault(module):
    """The function raises what it raises, at once; nothing of ours has failed."""
    watch, log = watching()
    found = importlib.import_module(module)
    faults = moa.status().faults
    arounds = [Watch(default_stack, module, path, watch) for path in ("fails", "answer", "Worker.chat")]
    for call in (found.fails, found.answer, found.Worker().chat):
        with pytest.raises(TypeError, match="missing"):
            call()
    for around in arounds:
        around.undo()
    assert log == []
    assert moa.status().faults == faults


ASYNC = """
import asyncio, functools

async def answer(task):
    await asyncio.sleep(0)
    if task == "fail":
        raise LookupError(task)
    return task.upper()

def plain(task):
    return answer(task)

def started(task):
    return asyncio.ensure_future(answer(task))

class Lazy:
    def __init__(self, task):
        self.task = task
    def __await__(self):
        return answer(self.task).__await__()

def lazy(task):
    return Lazy(task)

partial = functools.partial(answer)

class Worker:
    async def chat(self, task):
        return await answer(task)
    @classmethod
    async def make(cls, task):
        return await answer(task)
    @staticmethod
    async def ask(task):
        return await answer(task)
"""


def watching():
    """Return a watcher, and the list of what it sees."""
    log = []

    def watch(task):
        log.append(f"begins {task}")
        try:
            log.append((yield))
        finally:
            log.append("ends")

    return watch, log


ASYNC_PATHS = ["answer", "plain", "started", "partial", "Worker.chat", "Worker.make", "Worker.ask"]


def found_at(owner, path):
    """Return what a path leads to, of an instance where it leads into a class."""
    name, _, rest = path.partition(".")
    return getattr(getattr(owner, name)(), rest) if rest else getattr(owner, name)


@pytest.mark.parametrize("path", ASYNC_PATHS)
def test_what_a_coroutine_returns_is_what_the_watcher_is_sent(module, path):
    """Whatever kind of function makes it: methods, partial applications, plain functions, tasks."""
    watch, log = watching()
    found = importlib.import_module(module)
    kind = type(found_at(found, path))
    around = Watch(default_stack, module, path, watch)

    async def run():
        made = found_at(found, path)("a")
        assert asyncio.isfuture(made) is (path == "started")
        assert await made == "A"
        await asyncio.sleep(0)
        with pytest.raises(LookupError, match="fail"):
            await found_at(found, path)("fail")
        await asyncio.sleep(0)

    faults = moa.status().faults
    asyncio.run(run())
    around.undo()
    assert log == ["begins a", "A", "ends", "begins fail", "ends"]
    assert moa.status().faults == faults
    assert type(found_at(found, path)) is kind


def test_an_awaitable_of_another_kind_stays_what_it_is(module):
    """It may be more than an awaitable; its result is not known, and that is not a fault."""
    watch, log = watching()
    around = Watch(default_stack, module, "lazy", watch)
    found = importlib.import_module(module)
    faults = moa.status().faults

    async def run():
        made = found.lazy("a")
        assert type(made) is found.Lazy
        assert await made == "A"

    asyncio.run(run())
    around.undo()
    assert log == ["begins a", "ends"]
    assert moa.status().faults == faults


def test_a_coroutine_is_watched_where_it_runs(module):
    """What the watcher sets is seen inside, and not by the code that made the coroutine; a cancelled one ends too."""
    here = ContextVar("here", default=0)
    seen = []

    def watch():
        here.set(1)
        try:
            yield
        finally:
            seen.append(here.get())
            here.set(0)

    around = Watch(default_stack, module, "Worker.chat", watch)
    found = importlib.import_module(module)

    async def answer(task):
        seen.append(here.get())
        await asyncio.sleep(5 if task == "long" else 0)

    found.answer = answer

    async def run():
        coroutine = found.Worker().chat("a")
        assert (coroutine.__name__, coroutine.__qualname__) == ("chat", "Worker.chat")
        assert seen == []
        task = asyncio.ensure_future(coroutine)
        assert here.get() == 0
        await task
        assert seen == [1, 1]
        task = asyncio.ensure_future(found.Worker().chat("long"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == [1, 1, 1, 1]
        assert here.get() == 0

    asyncio.run(run())
    around.undo()


def test_a_coroutine_that_is_never_awaited_is_named_as_it_was(module):
    """Python warns once, by the function's own name, and the watcher has not begun."""
    watch, log = watching()
    found = importlib.import_module(module)
    around = Watch(default_stack, module, "answer", watch)
    assert inspect.iscoroutinefunction(found.answer)
    with pytest.warns(RuntimeWarning, match="coroutine 'answer' was never awaited") as warned:
        found.answer("a")
    around.undo()
    assert len(warned) == 1
    assert log == []


def test_the_exception_of_a_task_is_still_nobodys(module, caplog):
    """Asyncio reports one that was never retrieved; watching it does not count as that."""
    watch, log = watching()
    around = Watch(default_stack, module, "started", watch)
    found = importlib.import_module(module)

    async def run():
        found.started("fail")
        await asyncio.sleep(0.01)
        gc.collect()

    asyncio.run(run())
    around.undo()
    assert log == ["begins fail", "ends"]
    assert "exception was never retrieved" in caplog.text


def test_faults_of_the_watcher_of_a_coroutine_are_its_own(module):
    """They are counted, and the coroutine returns what it returns."""
    found = importlib.import_module(module)
    faults = moa.status().faults
    for count, (path, watch) in enumerate([(p, w) for p in ("answer", "plain", "started") for w in (before, after)], 1):
        around = Watch(default_stack, module, path, watch)

        async def run(path=path):
            assert await getattr(found, path)("a") == "A"
            await asyncio.sleep(0)

        asyncio.run(run())
        around.undo()
        assert moa.status().faults == faults + count
