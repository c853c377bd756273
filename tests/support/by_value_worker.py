"""A worker that has none of the script's modules: `by_value_worker.py PICKLER FILE` calls what is in it."""

import asyncio
import importlib
import json
import pickle
import sys

import moa_middleware as moa


async def gathered(source):
    return "".join([item async for item in source])


CALLS = {
    "": lambda fn: fn("p"),
    "bare": lambda fn: fn(),
    "await": lambda fn: asyncio.run(fn("p")),
    "list": lambda fn: "".join(fn("p")),
    "async list": lambda fn: asyncio.run(gathered(fn("p"))),
    "create": lambda kind: kind().create("p"),
    "method": lambda client: client.create("p"),
    "self": lambda fn: fn(type("Any", (), {"prefix": "a long answer to "})(), "p"),
    "inner": lambda kind: kind().inner.create("p"),
    "inner of": lambda client: client.inner.create("p"),
    "holder": lambda held: held["client"].create("p"),
}

if __name__ == "__main__":
    pickler = importlib.import_module(sys.argv[1])
    with open(sys.argv[2], "rb") as file:
        pickled = pickle.load(file)
    results = {}
    for name, (how, data, error) in pickled.items():
        try:
            if error is None:
                value = pickler.loads(data)
                with moa.tag(session_id=name):
                    results[name] = CALLS[how](value)
            else:
                results[name] = error
        except Exception as raised:
            results[name] = f"{type(raised).__name__}: {raised}"
    print(json.dumps(results))
