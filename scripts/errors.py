"""What the user got wrong, in one line."""

import argparse
import re
from typing import NoReturn


class UsageError(Exception):
    """The user's words or files are wrong; the message says which and what to do."""


class Parser(argparse.ArgumentParser):
    """A parser whose refusals are one line too."""

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message}; see {self.prog} --help")


def one_line(error: BaseException) -> str:
    """The place and the innermost cause of a parser's error, which spans many lines and levels of nesting."""
    chain = _causes(error)
    keys: list[str] = []
    for cause in chain:
        found = re.match(r'Parser key "([^"]+)"', str(cause))
        if found and found[1] not in keys[-1:]:
            keys.append(found[1])
    message = _alternatives(chain) or _plain(str(chain[-1]))
    return ": ".join([".".join(keys), message] if keys else [message])


def _causes(error: BaseException) -> list[BaseException]:
    chain = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    return chain


def _alternatives(chain: list[BaseException]) -> str | None:
    """A value that fits none of several literal types: all that would fit, not just the first type's."""
    unions = [str(cause) for cause in chain if "Union subtypes" in str(cause)]
    literals = re.findall(r"- Expected a typing\.Literal\[(.*)\]", unions[-1]) if unions else []
    given = re.search(r"Given value: (.*)", unions[-1]) if unions else None
    if len(literals) < 2 or not given:
        return None
    return f"expected one of {', '.join(literals)}, got {given[1]}"


def _plain(message: str) -> str:
    message = " ".join(message.split())
    message = re.sub(r"Expected a dot import path string: (.*)", r"no class is named \1", message)
    message = re.sub(r"Expected a <class '([\w.]+)'>", r"expected \1", message)
    message = re.sub(r"Expected a typing\.Literal\[(.*)\]", r"expected one of \1", message)
    return message.replace(". Got value: ", ", got ")
