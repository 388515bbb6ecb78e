//! A static test program that exercises a guest kernel and prints a digest of what it saw.
