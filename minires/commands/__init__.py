"""The commands of ``minires``: one per file, with its options (``add_options``) and its work (``run``)."""
