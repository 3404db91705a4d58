//! What the tests of this workspace share. The tests themselves are in `tests/`, one behaviour a file.
