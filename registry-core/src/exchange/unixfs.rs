//! UnixFS v1 files and directories as DAG-PB: building, and walking what was fetched.
