"""A course: assignments, their tests, and grading that a submission cannot talk to.

A test file of an assignment begins with::

    from minires.course import submitted

    mine = submitted(__file__, "activations.py")   # whatever the student's file holds: mine.ReLU()

A student's pytest imports that file. Under ``minires grade`` the same line gives a stand-in (remote.py) for a file
that runs in another process (worker.py), so that tests and answers are never in one process with what they judge.
"""

from minires.course.submission import seeded, submitted

__all__ = ["seeded", "submitted"]
