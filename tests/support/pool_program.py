"""A script that gives its own functions and clients to a pool's workers: `pool_program.py joblib|dask|ray`."""

import asyncio
import json
import sys

import moa_middleware as moa


@moa.reference(label="mine", layer=2, session_id=lambda session: session)
def ask(session, prompt):
    return answer(prompt)


@moa.reference(label="inside")
def answer(prompt):
    return "a long answer to " + prompt


@moa.client(preset="duo")
class Client:
    def __init__(self, name):
        self.name = name

    @moa.reference(label="mine")
    async def propose(self, prompt):
        return f"{self.name} answers {prompt} at length"

    async def gather(self, prompts):
        return await asyncio.gather(*map(self.propose, prompts))

    def create(self, prompt, session_id):
        return " ".join(asyncio.run(self.gather([prompt, prompt])))


@moa.aggregator(label="late")
def stream(prompt):
    yield "a long answer"
    yield " to " + prompt


def read(session, prompt):
    with moa.tag(session_id=session):
        return "".join(stream(prompt))


def fail(session):
    @moa.reference
    def failing():
        raise ValueError("no")

    with moa.tag(session_id=session):
        try:
            failing()
        except ValueError as error:
            return str(error)


def work():
    """Return functions with their arguments: a function, a method, a class, a reader and one that fails."""
    return [
        (ask, ("function", "p")),
        (Client("one").create, ("p", "method")),
        (lambda kind: kind("two").create("p", "class"), (Client,)),
        (read, ("stream", "p")),
        (fail, ("failed",)),
    ]


def with_joblib():
    from joblib import Parallel, delayed

    return Parallel(n_jobs=2, backend="loky")(delayed(fn)(*given) for fn, given in work())


def with_dask():
    from dask.distributed import Client as Cluster

    with Cluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        return cluster.gather([cluster.submit(fn, *given, pure=False) for fn, given in work()])


def with_dask_processes():
    import dask

    found = dask.compute(*[dask.delayed(fn, pure=False)(*given) for fn, given in work()], scheduler="processes")
    return list(found)


def with_ray():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    run = ray.remote(lambda fn, given: fn(*given))
    return ray.get([run.remote(fn, given) for fn, given in work()])


if __name__ == "__main__":
    print(json.dumps(globals()[f"with_{sys.argv[1]}"]()))
