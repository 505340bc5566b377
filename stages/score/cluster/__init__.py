"""A walk over a store by the workers of a Dask cluster, instead of threads of one machine."""
