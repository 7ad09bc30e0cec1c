"""Files, expressions, runs and messages that nobody meant to write: each ends in a sentence, none in a traceback.

``make fuzz`` searches for ten minutes; ``test_fuzz.py`` tries the same properties on a few fixed inputs.
"""
