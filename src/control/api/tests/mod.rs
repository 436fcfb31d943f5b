//! The HTTP API by calls in the process, with cores that are played.
