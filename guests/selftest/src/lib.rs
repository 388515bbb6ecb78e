//! The embedded guest kernel that checks the machine it runs on.
