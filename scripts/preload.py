"""Imports what training needs: in one process, from which all workers of a study are forked."""

import atexit
import gc

from scripts.main import load

load("scripts.cli")
gc.freeze()  # never to be searched for garbage again, and so never copied
atexit.register(gc.unfreeze)
