//! The image store and the recipes that fill it.
