//! The simulated machine: a disk that forgets, a clock that stands still, threads that are tasks.

