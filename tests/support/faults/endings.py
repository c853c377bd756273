"""Ways for a process to end, as scripts: whatever was acknowledged by then is on the disk, once."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import textwrap
import time

from .evidence import PRELUDE, environment, look, start

# What runs after the prelude.
ENDINGS = {
    "a normal end": "for n in range(20): turn(f'{n}')",
    "an unhandled exception": "for n in range(20): turn(f'{n}')\nraise ValueError",
    "sys.exit in a thread": """
        def work():
            for n in range(20): turn(f'{n}')
            sys.exit(3)
        threading.Thread(target=work).start()
        """,
    "os._exit": "for n in range(20): turn(f'{n}')\nos._exit(0)",
    "SIGTERM": "for n in range(10**9): turn(f'{n}')",
    "SIGINT": "for n in range(10**9): turn(f'{n}')",
    "SIGKILL": "for n in range(10**9): turn(f'{n}')",
    "a forked child": """
        turn("parent")
        if not os.fork():
            for n in range(20): turn(f'{n}')
            sys.exit()
        os.wait()
        turn("parent-2")
        """,
    "a forked child and os._exit": """
        def busy():
            for n in range(40): turn(f'thread-{n}', 100_000)
        thread = threading.Thread(target=busy)
        thread.start()
        for n in range(8):
            if not os.fork():
                turn(f'child-{n}')
                os._exit(0)
        for n in range(8): os.wait()
        thread.join()
        """,
    "spawn": """
        from multiprocessing import get_context
        if __name__ == "__main__":
            child = get_context("spawn").Process(target=several, args=("child",))
            child.start(); child.join()
            assert not child.exitcode
            turn("parent")
        """,
    "multiprocessing.Pool": """
        from multiprocessing import get_context
        if __name__ == "__main__":
            with get_context("fork").Pool(3) as pool:
                pool.map(several, [f"pool{n}" for n in range(6)])
        """,
    "ProcessPoolExecutor": """
        from concurrent.futures import ProcessPoolExecutor
        if __name__ == "__main__":
            with ProcessPoolExecutor(3) as pool:
                list(pool.map(several, [f"pool{n}" for n in range(6)]))
        """,
    "daemon threads": """
        def work(name):
            for n in range(10**9): turn(f'{name}-{n}', 20_000)
        for t in range(3): threading.Thread(target=work, args=(t,), daemon=True).start()
        time.sleep(0.3)
        """,
    "asyncio.run with open tasks": """
        import asyncio
        async def work(name):
            for n in range(10**9):
                turn(f'{name}-{n}')
                await asyncio.sleep(0)
        async def main():
            tasks = [asyncio.create_task(work(t)) for t in range(5)]
            await asyncio.sleep(0.2)
        asyncio.run(main())
        """,
    "gevent": """
        import gevent
        def work(name):
            for n in range(20):
                turn(f'{name}-{n}')
                gevent.sleep(0)
        gevent.joinall([gevent.spawn(work, t) for t in range(5)])
        """,
    "an open stream at exit": """
        @moa.reference
        def stream():
            yield "open "
            yield "never read"
        for n in range(20): turn(f'{n}')
        s = stream()
        next(s)
        """,
}
SIGNALS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGKILL": signal.SIGKILL}
SEVERAL = "\ndef several(name):\n    for n in range(5): turn(f'{name}-{n}')\n"
GEVENT = "from gevent import monkey; monkey.patch_all()\n"


def available(name):
    """Whether what a way of ending needs is installed."""
    return name != "gevent" or importlib.util.find_spec("gevent") is not None


def end(name, place, python=sys.executable):
    """End a process in a way; returns what is found."""
    code = SEVERAL + textwrap.dedent(ENDINGS[name])
    if name == "spawn":
        return _spawned(place, code)
    process = start(code, place, first=GEVENT if name == "gevent" else "", python=python, stderr=subprocess.PIPE)
    if name in SIGNALS:
        acks, until = place / "acks", time.monotonic() + 30
        while not (acks.exists() and acks.stat().st_size > 2000):
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(SIGNALS[name])
    _, errors = process.communicate(timeout=60)
    assert b"" == errors or name in ("an unhandled exception", "SIGINT"), errors.decode()
    return look(place)


def _spawned(place, code):
    """Run it from a file: a spawned child imports that of its parent."""
    script = place / "script.py"
    script.write_text(PRELUDE + code)
    command = [sys.executable, script, place / "traces", place / "acks"]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)
    assert (0, b"") == (done.returncode, done.stderr), done.stderr.decode()
    return look(place)
