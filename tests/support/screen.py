"""A terminal's screen, as far as our progress uses one: what stands on it after all that was written.

It wraps what is too long, and when it is made narrower or wider it wraps anew what stands there, as terminals of today
do (the cursor goes with its text).
"""

from __future__ import annotations

import re

_PIECE = re.compile(r"\x1b\[(\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Screen:
    """Rows without end: nothing scrolls away."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._rows: list[str] = [""]
        self._goes_on: list[bool] = [False]  # whether a row's line goes on in the next
        self._y, self._x = 0, 0
        self.wrapped = False  # whether a line was ever too long for the terminal it was written to

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self._rows).rstrip("\n")

    def write(self, text: str) -> None:
        place = 0
        while place < len(text):
            found = _PIECE.match(text, place)
            assert found is not None, f"not known to this terminal: {text[place : place + 10]!r}"
            place = found.end()
            if found[2]:
                self._obey(found[2], int(found[1] or 1))
            elif found[0] == "\r":
                self._x = 0
            elif found[0] == "\n":
                self._down()
            else:
                for character in found[0]:
                    self._put(character)

    def _obey(self, letter: str, count: int) -> None:
        if letter == "A":
            assert count <= self._y, "the cursor leaves what was drawn"
            self._y -= count
        elif letter in "KJ":
            assert letter == "K" or (self._y, self._x) != (0, 0), (
                "tmux keeps a whole screen that is erased, in its history"
            )
            self._rows[self._y] = self._rows[self._y][: self._x]
            self._goes_on[self._y] = False
            if letter == "J":
                del self._rows[self._y + 1 :], self._goes_on[self._y + 1 :]
        else:
            raise AssertionError(f"not known to this terminal: ESC [ {letter}")

    def _down(self) -> None:
        self._y, self._x = self._y + 1, 0
        if self._y == len(self._rows):
            self._rows.append("")
            self._goes_on.append(False)

    def _put(self, character: str) -> None:
        if self._x >= self.columns:
            self.wrapped = True
            self._goes_on[self._y] = True
            self._down()
        row = self._rows[self._y].ljust(self._x)
        self._rows[self._y] = row[: self._x] + character + row[self._x + 1 :]
        self._x += 1

    def resize(self, columns: int) -> None:
        rows: list[str] = []
        goes_on: list[bool] = []
        line, cursor, place = "", None, (0, 0)
        for number, row in enumerate(self._rows):
            if number == self._y:
                cursor = len(line) + self._x
            line += row
            if not self._goes_on[number]:
                pieces = [line[at : at + columns] for at in range(0, len(line), columns)] or [""]
                if cursor is not None:
                    down = min(cursor // columns, len(pieces) - 1)
                    place = len(rows) + down, cursor - down * columns
                rows += pieces
                goes_on += [True] * (len(pieces) - 1) + [False]
                line, cursor = "", None
        self._rows, self._goes_on, self.columns, (self._y, self._x) = rows, goes_on, columns, place
