"""What Airboss costs beside its peers: `python -m bench` measures, prints one table, and judges nothing by itself.

One module a subject; each has `rows(effort)`, which measures in a process of its own. Never part of the test suite: a
time is a fact about a machine, and a test that fails on a slow one proves nothing.
"""
