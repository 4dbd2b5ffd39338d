from . import embedding_map as embedding_map
