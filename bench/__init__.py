"""Benchmark: filestored and comparable servers, in one run on one machine.

``python -m bench`` starts them all on loopback, each pinned to one core, the client on another, gives
them the same files, and alternates between them: every round runs all servers; the result is the median of
the ratios within rounds. Figures of another machine or another hour are not comparable; such ratios are.

Reading order: ``workloads`` are measured on ``servers``; ``rounds`` alternates between them; ``statistics``
turns samples into ratios; ``report`` and ``chart`` show these. ``idle``, ``large_store`` and
``parallel_uploads`` have one result instead of a rate. ``engine`` and ``engine_memory`` measure filestored on
an object store, and ``engine_simulation`` computes what many daemons on one would do.

Rejected: one server after the other (the machine drifts), means (one hiccup moves them), and
comparing with published figures.
"""
