"""
What is known of each SDK's request, chunk and reply.

`request` finds the parts of a request in the arguments of a function, once per function; `reply`
reads chunks and values by duck typing, per object; one file an SDK below them. No SDK is imported.
"""
