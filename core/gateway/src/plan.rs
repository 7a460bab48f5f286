//! The maths of `tidegate plan`.
