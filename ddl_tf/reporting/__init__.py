"""The page of `python -m ddl_tf.report`: figures, tables and sentences from stored evaluations.

The map of embeddings is imported when it is first used: it takes scikit-learn.
"""

import lazy_loader

__getattr__, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)
