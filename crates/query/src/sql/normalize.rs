//! The scanner that lifts literals of a simple statement to parameters.
