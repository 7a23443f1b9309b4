"""Imports what training needs: in one process, from which all workers of a study are forked."""

import atexit
import gc
import os

atexit.register(os._exit, 0)  # Python's own end would take two seconds, and keep a pipe open so long
gc.disable()  # as in scripts.main
import scripts.resolver  # noqa: E402, F401

gc.enable()
gc.freeze()  # never to be searched for garbage again, and so never copied
