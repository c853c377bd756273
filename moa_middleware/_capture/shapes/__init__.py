"""
What is known of each SDK's request, chunk and reply.

`request` finds the parts of a request in the arguments of a function, once per function. `accumulator`
reads chunks and `replies` values, by duck typing, per object, with the module of each SDK below them.
`render`, `in_memory_client` and `wire` go the other way: from a middleware's reply to an SDK's object.
No SDK is imported.
"""
