//! The reference CPU: plain and obviously right.
