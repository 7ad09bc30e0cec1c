"""A program that takes turns as the peers of benchmarks/peers do, and ends or sleeps in the epoch it is told to."""

import time

from benchmarks.turns import Turn

turn = Turn()
how, _, number = turn.arguments[0].partition("=")
for epoch in range(turn.epochs):
    turn.begin()
    if how != "well" and epoch == int(number):
        if how == "sleeps":
            time.sleep(3600)
        raise ValueError("the third weight is NaN\nas told")
    turn.end()
turn.save(note="as it is written", weight=[1.0])
