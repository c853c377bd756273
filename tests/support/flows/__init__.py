"""Programs that ask models, each with what its calls truly are: the measure of role inference.

`world.py` has what they ask, `runner.py` runs them through the library and reads what was written, `chance.py` draws
programs by chance. The other modules are the programs. They know nothing of the library.
"""
