"""The page of `python -m ddl_tf.report`: figures, tables and sentences from stored evaluations."""
