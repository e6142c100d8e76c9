"""What Dask calls: open the store, call one function, write or return."""
