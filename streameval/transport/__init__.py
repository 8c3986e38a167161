"""The only room that does IO: event logs in, records out, and the state kept between them.

``protocol`` says what every transport can do; ``logdir`` (a directory of JSONL logs) is the embedded one, ``kafka``
the other. ``checkpoint`` keeps the state on disk, ``codec`` says in which bytes, and ``commit`` ties outputs and state
together exactly once.
"""
