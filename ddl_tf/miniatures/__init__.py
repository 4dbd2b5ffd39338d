"""Made sets in the layouts of the benchmarks, so that users and tests can see each layout."""
