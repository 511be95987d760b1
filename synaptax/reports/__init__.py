"""Tables, drawings and the benchmark harness."""
