"""filestored beside the servers that people would pick instead, in one run on one machine.

``python -m bench`` starts them all on loopback, each pinned to one core, the client on another, gives
them the same files, and lets them take turns: every round goes through all servers, and what counts is
the ratio of two servers within a round, then its median. A figure from another machine, or from
another hour of this one, says nothing; a ratio of neighbours does.

Read in this order: ``works`` says what is measured, ``servers`` by whom, ``rounds`` takes the turns,
``figures`` turns samples into ratios, ``report`` and ``chart`` show them. ``memory``, ``idle``,
``shelves`` and ``deluge`` ask the questions that have one answer instead of a rate.

Rejected: one server after the other (the machine drifts), means (one hiccup moves them), and
comparing with published figures.
"""
