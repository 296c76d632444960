"""The contract of counts: parameters, tables, buffers and FLOPs."""
